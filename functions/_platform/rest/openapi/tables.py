"""The parts of a table or view: its definition, its parameters, its path."""

from collections.abc import Iterable
from typing import Any

from functions._platform.rest.catalogue.model import Catalogue, Column, ForeignKey, Table
from functions._platform.rest.openapi.types import default_of, schema_of

Json = dict[str, Any]


def definition(catalogue: Catalogue, table: Table) -> Json:
    keys = _foreign_keys(catalogue, table)
    properties = {
        column.name: _property(table, column, keys.get(column.name))
        for column in table.columns.values()
    }
    required = [column.name for column in table.columns.values() if not column.nullable]
    return given(
        type="object",
        description=table.description,
        properties=properties or None,
        required=required or None,
    )


def parameters(table: Table) -> dict[str, Json]:
    """By the names under which ``path`` refers to them."""
    name = table.name.name
    body = {
        "name": name,
        "description": name,
        "required": False,
        "in": "body",
        "schema": {"$ref": f"#/definitions/{name}"},
    }
    filters = {
        f"rowFilter.{name}.{column.name}": query_parameter(column.name, column.description)
        for column in table.columns.values()
    }
    return {f"body.{name}": body, **filters}


def query_parameter(name: str, description: str | None, in_: str = "query") -> Json:
    return given(name=name, description=description, required=False, type="string") | {"in": in_}


def path(table: Table) -> Json:
    name = table.name.name
    filters = [f"rowFilter.{name}.{column}" for column in table.columns]
    reading = [*filters, "select", "order", "range", "rangeUnit", "offset", "limit", "preferCount"]
    rows = {"type": "array", "items": {"$ref": f"#/definitions/{name}"}}
    head = {**summary(table.description), "tags": [name]}
    found = {
        "get": _operation(
            head,
            reading,
            {
                "200": {"description": "OK", "schema": rows},
                "206": {"description": "Partial Content"},
            },
        )
    }
    if table.insertable or table.updatable or table.deletable:
        body = f"body.{name}"
        no_content = {"204": {"description": "No Content"}}
        found |= {
            "post": _operation(
                head, [body, "select", "preferPost"], {"201": {"description": "Created"}}
            ),
            "patch": _operation(head, [*filters, body, "preferReturn"], no_content),
            "delete": _operation(head, [*filters, "preferReturn"], no_content),
        }
    return found


def summary(comment: str | None) -> Json:
    """The first line of a comment, and the rest as description."""
    if comment is None:
        return {}
    first, _, rest = comment.partition("\n")
    return given(summary=first, description=rest.lstrip("\n") or None)


def given(**fields: Any) -> Json:
    """Without the fields that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def _operation(head: Json, names: Iterable[str], responses: Json) -> Json:
    refs = [{"$ref": f"#/parameters/{name}"} for name in names]
    return {**head, "parameters": refs, "responses": responses}


def _property(table: Table, column: Column, foreign: tuple[str, str] | None) -> Json:
    schema = schema_of(column.type) | given(
        description=_described(table, column, foreign),
        enum=list(column.enum) or None,
        maxLength=column.max_length,
    )
    if column.default is not None:
        for value in default_of(column.type, column.default):
            schema["default"] = value
    return schema


def _described(table: Table, column: Column, foreign: tuple[str, str] | None) -> str | None:
    notes = []
    if column.name in table.primary_key:
        notes.append("This is a Primary Key.<pk/>")
    if foreign:
        name, key = foreign
        notes.append(f"This is a Foreign Key to `{name}.{key}`.<fk table='{name}' column='{key}'/>")
    if not notes:
        return column.description
    comment = "" if column.description is None else f"{column.description}\n\n"
    return comment + "\n".join(["Note:", *notes])


def _foreign_keys(catalogue: Catalogue, table: Table) -> dict[str, tuple[str, str]]:
    """A column that is a foreign key by itself → the table and column that it refers to; tables before views."""
    found: dict[str, tuple[str, str]] = {}
    related = [
        each
        for each in catalogue.relationships.get(table.name, ())
        if isinstance(each, ForeignKey)
        and each.cardinality in ("M2O", "O2O")
        and not each.is_parent
        and len(each.pairs) == 1
        and each.foreign_table.schema == table.name.schema
    ]
    for each in sorted(related, key=lambda each: each.foreign_is_view):
        [(own, other)] = each.pairs
        found.setdefault(own, (each.foreign_table.name, other))
    return found
