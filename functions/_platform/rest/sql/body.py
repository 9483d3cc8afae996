"""The request's body as rows: PostgreSQL reads the JSON itself, it is one bound value."""

from collections.abc import Sequence

from functions._platform.rest.plan.model import WrittenColumn
from functions._platform.rest.sql.fragment import (
    JSON,
    JSONB,
    Body,
    Fragment,
    bound,
    joined,
    qualified,
    quoted,
)

ROWS = "pgrst_body"
"""The alias of the rows."""
JSONB_VERSION = b"\x01"
"""The first byte of jsonb's binary format."""


def rows(
    columns: Sequence[WrittenColumn],
    *,
    is_object: bool,
    one: bool = False,
    defaults: bool = False,
) -> Fragment:
    """``from …``: a row per object of the body, or its first alone (``one``). ``is_object``: it is one, not an array.

    ``defaults``: of the columns that an object lacks.
    """
    pieces: Fragment = [
        "from (select ",
        _json(binary=defaults),
        " as json_data) pgrst_payload, ",
    ]
    data, prefix, ending = "pgrst_payload.json_data", "json", "" if is_object else "set"
    if defaults:
        pieces += _with_defaults(columns, is_object=is_object)
        data, prefix = "pgrst_defaults.val", "jsonb"
    if columns:
        shown = ", ".join(map(_parsed, columns))
        typed = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
        source = f"{prefix}_to_record{ending}({data}) as _({typed}){' limit 1' if one else ''}"
    else:
        shown = ""
        source = "(values(1)) _" if is_object else f"{prefix}_array_elements({data}) _"
    return [*pieces, f"lateral (select {shown} from {source}) {ROWS} "]


def _json(*, binary: bool) -> Body:
    """As jsonb (``binary``) or json."""
    return Body(JSONB, JSONB_VERSION) if binary else Body(JSON)


def _with_defaults(columns: Sequence[WrittenColumn], *, is_object: bool) -> Fragment:
    """The payload over the columns' defaults, which are SQL of the catalogue, evaluated once per row."""
    pairs: list[Fragment] = [
        [bound(column.name), f"::text, {column.default}"] for column in columns if column.default
    ]
    defaults: Fragment = ["jsonb_build_object(", *joined(", ", pairs), ")"]
    if is_object:
        value: Fragment = [*defaults, " || pgrst_payload.json_data as val"]
    else:
        elements = "jsonb_array_elements(pgrst_payload.json_data) elem"
        value = ["jsonb_agg(", *defaults, f" || elem) as val from {elements}"]
    return ["lateral (select ", *value, ") pgrst_defaults, "]


def _parsed(column: WrittenColumn) -> str:
    name = quoted(column.name)
    return f"{qualified(column.transform)}({name}) as {name}" if column.transform else name
