"""SQL injection, as a property: whatever a request asks, its SQL parses, is one statement, holds no text of the request
but quoted identifiers, and touches nothing but the exposed schema.
"""

import asyncio
import json
from typing import Any

import pglast
import pytest
from hypothesis import HealthCheck, event, given, settings
from pglast import ast
from pglast.visitors import Visitor
from psycopg import AsyncConnection
from starlette.requests import Request

from functions._platform.rest.catalogue.load import load
from functions._platform.rest.catalogue.model import Catalogue
from functions._platform.rest.errors import RestError
from functions._platform.rest.payload import Payload
from functions._platform.rest.planned import Planned, Planner
from functions._platform.rest.request import READING, asked_of
from functions._platform.rest.sql.statement import MAX_ANSWER_BYTES
from functions._shared.rest_settings import RestSettings
from tests.functions._platform.rest import queries

pytestmark = pytest.mark.slow
SETTINGS = RestSettings(
    pgrst_db_schemas=("api", "staff"),
    pgrst_db_max_rows=7,
    pgrst_db_aggregates_enabled=True,
    pgrst_db_plan_enabled=True,
)
OWN_TEXTS = {
    "", "[]", "null", "{}", ",", "\n", "0", "-1", "=", "eq.", "is.null", "response.headers", "response.status",
    "pgrst.inserted", "type", "FeatureCollection", "features",
}  # fmt: skip
"""All string literals of the program."""
OWN_NUMBERS = {0, 1, 2, 7, 8, MAX_ANSWER_BYTES}
OWN_FUNCTIONS = {
    "array_elements", "avg", "count", "current_setting", "json_agg", "json_array_elements", "json_build_object",
    "json_each_text", "json_object_keys", "json_strip_nulls", "json_to_record", "json_to_recordset", "jsonb_agg",
    "jsonb_array_elements", "jsonb_build_object", "jsonb_to_record", "jsonb_to_recordset", "length", "max", "min",
    "nullif", "pg_column_size", "phraseto_tsquery", "plainto_tsquery", "row_to_json", "set_config", "st_asgeojson",
    "string_agg", "substring", "sum", "to_jsonb", "to_tsquery", "to_tsvector", "unnest", "websearch_to_tsquery",
    "nextval",
}  # fmt: skip
STATEMENTS = (ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.ExplainStmt)


class Seen(Visitor):  # type: ignore[misc]
    """What a statement mentions."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self.numbers: set[int] = set()
        self.relations: set[tuple[str | None, str]] = set()
        self.functions: set[tuple[str, ...]] = set()
        self.ctes: set[str] = set()

    def visit_A_Const(self, _: Any, node: Any) -> None:
        if isinstance(node.val, ast.String):
            self.texts.add(node.val.sval)
        elif isinstance(node.val, ast.Integer):
            self.numbers.add(node.val.ival)
        else:
            assert node.isnull or isinstance(node.val, ast.Boolean)

    def visit_RangeVar(self, _: Any, node: Any) -> None:
        self.relations.add((node.schemaname, node.relname))

    def visit_FuncCall(self, _: Any, node: Any) -> None:
        self.functions.add(tuple(part.sval for part in node.funcname))

    def visit_CommonTableExpr(self, _: Any, node: Any) -> None:
        self.ctes.add(node.ctename)


class Schema:
    """The library's catalogue, without its repr of some thousand characters."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue


@pytest.fixture(scope="module")
def schema(library: Any) -> Schema:
    async def read() -> Schema:
        async with await AsyncConnection.connect(library(), autocommit=True) as connection:
            return Schema(await load(connection, SETTINGS))

    return asyncio.run(read())


def planned(
    catalogue: Catalogue, request: queries.Asked, headers: dict[str, str], body: Any
) -> Planned | None:
    """None for a request that is refused. Any exception but RestError fails the test."""
    method = request.method
    path = f"/rest/v1{request.path}".encode()
    scope = {
        "type": "http",
        "method": method,
        "path": path.decode(),
        "raw_path": path,
        "root_path": "/rest/v1",
        "query_string": request.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    try:
        asked = asked_of(Request(scope), SETTINGS)
        planner = Planner(SETTINGS, catalogue)
        payload = None
        if method not in {*READING, "DELETE"}:
            first = body[0] if isinstance(body, list) and body else body
            keys = frozenset(first) if isinstance(first, dict) else frozenset()
            columns = asked.query.columns
            payload = Payload("json", json.dumps(body).encode(), columns or keys)
        if asked.kind == "routine":
            return planner.call(asked, payload)
        if asked.kind == "root":
            return None
        return planner.read(asked) if asked.is_reading else planner.write(asked, payload)
    except RestError:
        return None


@settings(
    max_examples=600,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    asked=queries.REQUESTS,
    prefer=queries.PREFERENCES,
    accept=queries.ACCEPTED,
    body=queries.BODIES,
)
def test_statements(schema: Schema, asked: queries.Asked, prefer: str, accept: str, body: Any):
    plan = planned(schema.catalogue, asked, {"prefer": prefer, "accept": accept}, body)
    event("planned" if plan else "refused")
    for statement in [plan.statement, plan.estimate] if plan else []:
        if statement:
            check(statement.text.decode(), len(statement.values), schema.catalogue)


def check(text: str, values: int, catalogue: Catalogue) -> None:
    [raw] = pglast.parse_sql(text)
    assert isinstance(raw.stmt, STATEMENTS)
    seen = Seen()
    seen(raw.stmt)
    assert seen.texts <= OWN_TEXTS
    assert seen.numbers <= OWN_NUMBERS
    tables = {tuple(name) for name in catalogue.tables}
    assert seen.relations <= tables | {(None, name) for name in seen.ctes}
    own = {(name,) for name in OWN_FUNCTIONS}
    made = {(*name,) for name in (*catalogue.routines, *catalogue.casts.values())}
    related = {
        tuple(each.function)
        for group in catalogue.relationships.values()
        for each in group
        if not hasattr(each, "cardinality")
    }
    handlers = {tuple(handler.function) for handler in catalogue.handlers}
    assert {tuple(name) for name in seen.functions} <= own | made | related | handlers
    assert all(f"${number}" in text for number in range(1, values + 1))


def test_the_check_notices_what_it_is_for(schema: Schema):
    catalogue = schema.catalogue
    for text in (
        "select 'x'",
        "select 1 from pg_authid",
        "select pg_sleep(1)",
        'select 1 from "hidden"."secrets"',
    ):
        with pytest.raises(AssertionError):
            check(text, 0, catalogue)
    with pytest.raises(ValueError, match="unpack"):
        check("select 1; select 2", 0, catalogue)
    with pytest.raises(pglast.parser.ParseError):
        check("select '", 0, catalogue)
