"""The path of a function, /rpc/<name>."""

from collections.abc import Sequence
from typing import Any

from psycopg import sql

from functions._platform.rest.catalogue.model import Parameter, Routine
from functions._platform.rest.openapi.tables import given, summary
from functions._platform.rest.openapi.types import ARRAY, format_of, kind_of, schema_of

Json = dict[str, Any]
OBJECTS = (
    "application/json",
    "application/vnd.pgrst.object+json;nulls=stripped",
    "application/vnd.pgrst.object+json",
)


def path(routine: Routine, search_path: Sequence[str]) -> Json:
    """``search_path``: schemas whose types are named without them, as format_type does in the request's session."""
    head = {
        **summary(routine.description),
        "tags": [f"(rpc) {routine.name.name}"],
        "produces": list(OBJECTS),
        "responses": {"200": {"description": "OK"}},
    }
    types = [_unqualified(each.type, search_path) for each in routine.parameters]
    named = list(zip(routine.parameters, types, strict=True))
    body = {
        "name": "args",
        "in": "body",
        "required": True,
        "schema": given(
            type="object",
            description=routine.description,
            properties={each.name: schema_of(type_) for each, type_ in named} or None,
            required=[each.name for each in routine.parameters if each.required] or None,
        ),
    }
    found: Json = {"post": {**head, "parameters": [body, {"$ref": "#/parameters/preferParams"}]}}
    if routine.volatility != "volatile":
        queries = [_query(each, type_) for each, type_ in named]
        found["get"] = {**head, **given(parameters=queries or None)}
    return found


def _query(parameter: Parameter, type_: str) -> Json:
    told = {"name": parameter.name, "required": parameter.required, "in": "query"}
    if not parameter.variadic:
        # An array is one text, {…}; and a parameter must have a kind.
        kind = kind_of(type_)
        shown = "string" if kind in (None, "array") else kind
        return {**told, "format": format_of(type_), "type": shown}
    element = type_.removesuffix(ARRAY)
    items = given(type=kind_of(element), format=format_of(element))
    return {
        **told,
        "type": kind_of(type_) or "string",
        "items": items,
        "collectionFormat": "multi",
    }


def _unqualified(type_: str, search_path: Sequence[str]) -> str:
    for schema in search_path:
        for prefix in (f"{schema}.", f"{sql.Identifier(schema).as_string()}."):
            if type_.startswith(prefix):
                return type_.removeprefix(prefix)
    return type_
