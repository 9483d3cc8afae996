"""The image models: what the table has, what Replicate has, and what would be sent.

    python -m scripts.models list
    python -m scripts.models add OWNER/NAME         ask Replicate for it and keep its schema in the table
    python -m scripts.models refresh [OWNER/NAME]   ask again, by default for every model that was asked for before
    python -m scripts.models try MODEL [REQUEST]    the input that would be sent for a JSON request, and if it is valid
    python -m scripts.models seed                   sql/14_models_seed.sql, from the catalogue

The settings are the gateway's (the environment and .env, the local stack's where they are silent).
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from jsonschema import Draft202012Validator

from functions._local.defaults import local_environment
from functions._shared.errors import FunctionError
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import CATALOG
from functions._shared.image_models.describe import beyond_a_request, describe
from functions._shared.logs import configure_logging
from functions._shared.resources import Resources, open_resources
from functions._shared.settings import Settings, SettingsError, read_environment
from functions._shared.web.bodies import validate
from functions.process_generation.inputs import build_input

LIST = """
select replicate_id, name, is_active, retired_reason, price_usd, typical_seconds, fetched_at,
    case when input_schema is null then 'catalogue' else 'table' end as source
from public.models order by replicate_id
"""
FETCHED = (
    "select replicate_id from public.models where fetched_at is not null order by replicate_id"
)
SEED = """-- The models of the catalogue, as clients read them. Written by: python -m scripts.models seed
-- A row that is there keeps its name, its defaults and whether it is active; one with a schema of its own keeps all.

-- An older models table may hold whatever else; then its own rows will do.
do $$
begin
    insert into public.models (
        {columns}
    )
    values
{rows}
    on conflict (replicate_id) do update set
{changes}
    where models.input_schema is null;
exception when not_null_violation or invalid_column_reference then
    raise notice 'public.models has columns or rows of its own: no models added';
end;
$$;
"""


async def list_models(resources: Resources, _: argparse.Namespace) -> int:
    async with resources.pool.connection() as connection:
        rows = await (await connection.execute(LIST)).fetchall()
    for row in rows:
        state = "active" if row["is_active"] and not row["retired_reason"] else "off"
        price = "" if row["price_usd"] is None else f"${row['price_usd']}"
        seconds = "" if row["typical_seconds"] is None else f"{row['typical_seconds']} s"
        fetched = f"{row['fetched_at']:%Y-%m-%d}" if row["fetched_at"] else ""
        print(
            f"{row['replicate_id']:45} {row['name']:28} {state:6} {price:>7} {seconds:>6}"
            f" {row['source']:9} {fetched:10} {row['retired_reason'] or ''}".rstrip()
        )
    return 0


async def add(resources: Resources, arguments: argparse.Namespace) -> int:
    await resources.models.refresh(arguments.model, resources.pool)
    return await _show(resources, arguments.model)


async def refresh(resources: Resources, arguments: argparse.Namespace) -> int:
    chosen = [arguments.model] if arguments.model else []
    if not chosen:
        async with resources.pool.connection() as connection:
            rows = await (await connection.execute(FETCHED)).fetchall()
        chosen = [row["replicate_id"] for row in rows]
    failures = 0
    for model_id in chosen:
        try:
            changed = await resources.models.refresh(model_id, resources.pool)
            print(f"{model_id}: {'changed' if changed else 'as it was'}")
        except FunctionError as error:
            failures += 1
            print(f"{model_id}: {error}", file=sys.stderr)
    return 1 if failures else 0


async def try_model(resources: Resources, arguments: argparse.Namespace) -> int:
    request = {"prompt": "a fox", **json.loads(arguments.request), "model_id": arguments.model}
    model = await resources.models.resolve(arguments.model, resources.pool)
    built = build_input(validate(GenerationRequest, request), model)
    closed = {**model.schema, "additionalProperties": False}
    errors = [error.message for error in Draft202012Validator(closed).iter_errors(built.input)]
    answer = {
        "model": model.replicate_id,
        "version": model.version,
        "input": built.input,
        "adjustments": list(built.adjustments),
        "valid": not errors,
    }
    print(json.dumps({**answer, **({"errors": errors} if errors else {})}, indent=2))
    return 1 if errors else 0


async def _show(resources: Resources, model_id: str) -> int:
    model = await resources.models.resolve(model_id, resources.pool)
    print(
        json.dumps(
            {"model": model.replicate_id, "version": model.version, **describe(model)}, indent=2
        )
    )
    return 0


def seed() -> str:
    """The catalogue as SQL, repeatable."""
    rows = [
        {
            "replicate_id": model.replicate_id,
            "name": model.name,
            **describe(model),
            "aliases": list(model.aliases),
            "price_usd": model.price_usd,
            "typical_seconds": model.typical_seconds,
            "is_active": beyond_a_request(model) is None,
            "retired_reason": beyond_a_request(model),
        }
        for model in CATALOG.values()
    ]
    columns = list(rows[0])
    kept = {"replicate_id", "name", "is_active", "retired_reason"}
    derived = [c for c in columns if c not in kept and not c.startswith("default_")]
    return SEED.format(
        columns=", ".join(columns[:6])
        + ",\n        "
        + ",\n        ".join(", ".join(columns[n : n + 4]) for n in range(6, len(columns), 4)),
        rows=",\n".join(_row([_literal(row[column]) for column in columns]) for row in rows),
        changes=",\n".join(f"        {column} = excluded.{column}" for column in derived),
    )


def _row(words: list[str]) -> str:
    """One row of values, wrapped between its words."""
    lines: list[str] = []
    line = ""
    for word in words:
        if line and len(line) + len(word) > 100:
            lines, line = [*lines, line.rstrip()], ""
        line += f"{word}, "
    lines.append(line.removesuffix(", "))
    inner = "\n".join(f"            {one}" for one in lines)
    return f"        (\n{inner}\n        )"


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"'{{{', '.join(value)}}}'"
    return "'" + str(value).replace("'", "''") + "'"


COMMANDS: dict[str, Callable[[Resources, argparse.Namespace], Awaitable[int]]] = {
    "list": list_models,
    "add": add,
    "refresh": refresh,
    "try": try_model,
}


async def run(arguments: argparse.Namespace) -> int:
    settings = Settings.from_env(local_environment(read_environment()))
    configure_logging(settings)
    async with open_resources(settings) as resources:
        return await COMMANDS[arguments.command](resources, arguments)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    commands.add_parser("add").add_argument("model")
    commands.add_parser("refresh").add_argument("model", nargs="?")
    trying = commands.add_parser("try")
    trying.add_argument("model")
    trying.add_argument("request", nargs="?", default="{}")
    commands.add_parser("seed")
    arguments = parser.parse_args(given)
    if arguments.command == "seed":
        print(seed(), end="")
        return 0
    try:
        return asyncio.run(run(arguments))
    except BrokenPipeError:  # "list | head" has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FunctionError, SettingsError, psycopg.Error, json.JSONDecodeError) as error:
        print(f"models: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
