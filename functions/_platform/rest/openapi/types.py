"""PostgreSQL's types and defaults in the words of Swagger."""

from typing import Any

from pydantic_core import from_json

KINDS = {
    "character varying": "string",
    "character": "string",
    "text": "string",
    "boolean": "boolean",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "numeric": "number",
    "real": "number",
    "double precision": "number",
    "json": None,
    "jsonb": None,
}
"""json may be of any kind."""
FORMATS = {"smallint": "int32", "integer": "int32", "bigint": "int64"}
ARRAY = "[]"


def kind_of(type_: str) -> str | None:
    if type_ in KINDS:
        return KINDS[type_]
    return "array" if type_.endswith(ARRAY) else "string"


def format_of(type_: str) -> str:
    return FORMATS.get(type_, type_)


def schema_of(type_: str) -> dict[str, Any]:
    """A property's ``format``, ``type`` and ``items``."""
    schema: dict[str, Any] = {"format": format_of(type_)}
    if kind := kind_of(type_):
        schema["type"] = kind
    if kind == "array":
        items = kind_of(type_.removesuffix(ARRAY))
        schema["items"] = {"type": items} if items else {}
    return schema


def default_of(type_: str, sql: str) -> tuple[Any, ...]:
    """The default's value in a tuple, () where its SQL is no JSON: ``now()`` of a column that is no string."""
    text = sql
    if kind_of(type_) == "string":
        literal = sql.removesuffix(f"::{type_}")
        text = f'"{literal.strip(chr(39)) if literal != sql else sql}"'
    try:
        return (from_json(text),)
    except ValueError:
        return ()
