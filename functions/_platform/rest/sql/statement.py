"""The whole statement of a request: the rows as a CTE, then one row with counts, body and what the SQL set as response.

| Column | |
|---|---|
| total | rows in all, NULL where they are not counted |
| rows | rows of the answer |
| location | of a write: JSON array of ``column=value`` of one inserted row, else NULL |
| body | made by PostgreSQL, passed on as it is |
| headers, status | the settings response.headers and response.status |
| inserted | of a write: rows that an upsert inserted, else NULL |
"""

from functions._platform.rest.catalogue.model import Routine
from functions._platform.rest.media_types import MediaType
from functions._platform.rest.plan.model import (
    EVERYTHING,
    SOURCE,
    Body,
    Call,
    Custom,
    Insert,
    Read,
    Write,
)
from functions._platform.rest.sql.calling import SCALAR, call
from functions._platform.rest.sql.fragment import (
    TEXT_ARRAY,
    Fragment,
    bound_array,
    qualified,
)
from functions._platform.rest.sql.reading import count, select
from functions._platform.rest.sql.writing import INSERTED, write

ROWS = "_postgrest_t"
COUNTED = "pgrst_source_count"
SETTINGS = """nullif(current_setting('response.headers', true), '') as headers,
 nullif(current_setting('response.status', true), '') as status"""
CSV_LINES = f"string_agg(substring({ROWS}::text, 2, length({ROWS}::text) - 2), '\n')"
"""A row's own text form is a CSV line within parentheses."""
CSV = f"""(select coalesce(string_agg(a.k, ','), '') from (select json_object_keys(r)::text as k
 from (select row_to_json(hh) as r from {SOURCE.name} as hh limit 1) s) a) || '\n' ||
 coalesce({CSV_LINES}, '')"""
FEATURES = f"json_agg(ST_AsGeoJSON({ROWS})::json)"
GEOJSON = f"""json_build_object('type', 'FeatureCollection', 'features',
 coalesce({FEATURES}, '[]'))"""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Memory bound of a reading request: PGRST_DB_MAX_ROWS bounds the rows of each level, nested embeds multiply them, and
the answer is in memory three times while it is sent. ``body`` is NULL for a larger one."""


def read_statement(
    plan: Read, body: Body, *, total: Fragment | None, windowed: bool, bounded: bool
) -> Fragment:
    """``total``: the query whose rows are the total, where it is asked for. ``windowed``: it differs from the rows.
    ``bounded``: the answer by MAX_ANSWER_BYTES.
    """
    counting, counted = _total(total, windowed, f"count({ROWS})")
    return [
        f"with {SOURCE.name} as (",
        *select(plan),
        ")",
        *counting,
        f" select {counted} as total, count({ROWS}) as rows, ",
        *_body(body, None, bounded=bounded),
        f" as body, {SETTINGS} from (select * from {SOURCE.name}) {ROWS}",
    ]


def call_statement(
    plan: Call,
    read: Read,
    body: Body,
    *,
    total: Fragment | None,
    windowed: bool,
    bounded: bool,
) -> Fragment:
    rows = f"count({ROWS})" if plan.routine.returns_set else "1"
    counting, counted = _total(total, windowed, rows)
    return [
        f"with {SOURCE.name} as (",
        *call(plan),
        ")",
        *counting,
        f" select {counted} as total, {rows} as rows, ",
        *_body(body, plan.routine, bounded=bounded),
        f" as body, {SETTINGS} from (",
        *select(read),
        f") {ROWS}",
    ]


def write_statement(
    plan: Write, read: Read, body: Body, *, location: bool, upserts: bool
) -> Fragment:
    """``location``: the key of an inserted row is wanted. ``upserts``: inserted and updated rows are told apart."""
    # Where no body is wanted the select list is not looked at: it may name columns that RETURNING lacks.
    rows: Fragment = [f"select * from {SOURCE.name}"] if body == "none" else select(read)
    return [
        f"with {SOURCE.name} as (",
        *write(plan),
        f") select null::bigint as total, count({ROWS}) as rows, ",
        *(_location(plan.primary_key) if location and isinstance(plan, Insert) else ["null"]),
        " as location, ",
        *_body(body, None, bounded=False),
        f" as body, {SETTINGS}, {INSERTED if upserts else 'null::int'} as inserted from (",
        *rows,
        f") {ROWS}",
    ]


def explained_count(plan: Read) -> Fragment:
    """The planner's estimate of the total, as JSON: ``[{"Plan": {"Plan Rows": n, …}}]``."""
    return ["explain (format json) ", *count(plan)]


def is_windowed(plan: Read) -> bool:
    return plan.window != EVERYTHING


def _total(total: Fragment | None, windowed: bool, rows: str) -> tuple[Fragment, str]:
    """The CTE that counts, and the expression of the total."""
    if total is None:
        return [], "null::bigint"
    if not windowed:
        return [], rows
    return [f", {COUNTED} as (", *total, ")"], f"(select count(*) from {COUNTED})"


def _location(primary_key: tuple[str, ...]) -> Fragment:
    """Key columns of the inserted row, if it is one."""
    return [
        f"case when count({ROWS}) = 1 then (select json_agg(field.key || '=' || "
        f"coalesce('eq.' || field.value, 'is.null')) from (select row_to_json(_) as row from {SOURCE.name} as _"
        " limit 1) as first cross join json_each_text(first.row) as field where field.key = any(",
        bound_array(primary_key, TEXT_ARRAY),
        ")) end",
    ]


def _body(body: Body, routine: Routine | None, *, bounded: bool) -> Fragment:
    is_scalar = routine is not None and not routine.returns_composite
    is_one = routine is not None and not routine.returns_set
    row = f"{ROWS}.{SCALAR}" if is_scalar else ROWS
    if isinstance(body, Custom):
        if is_scalar and is_one:
            return [f"{qualified(body.function)}({row})"]
        cast = f"::{qualified(body.relation)}" if body.relation else ""
        return [f"{qualified(body.function)}({ROWS}{cast})"]
    if body == "value":
        return [row]
    if body == "none":
        return ["''::text"]
    if body == "csv":
        return [_within(CSV_LINES, CSV, bounded)]
    if body == "geojson":
        return [_within(FEATURES, GEOJSON, bounded)]
    aggregated = f"json_agg({row if not body.startswith('object') or is_one else ROWS})"
    rows = f"json_strip_nulls({aggregated})" if body.endswith("stripped") else aggregated
    shown = f"{rows}->0, 'null'" if body.startswith("object") or is_one else f"{rows}, '[]'"
    return [_within(aggregated, f"coalesce({shown})", bounded)]


def _within(aggregate: str, shown: str, bounded: bool) -> str:
    """``shown``, which has ``aggregate`` in it: PostgreSQL computes equal aggregates of a query once."""
    exceeds = f"pg_column_size({aggregate}) > {MAX_ANSWER_BYTES}"
    return f"case when {exceeds} then null else {shown} end" if bounded else shown


def is_boundable(body: Body) -> bool:
    """Whether ``body`` is never NULL otherwise."""
    return isinstance(body, str) and body not in {"value", "none"}


def explained(statement: Fragment, media_type: MediaType) -> Fragment:
    """``statement``, or the EXPLAIN of it where an execution plan is asked for."""
    if not media_type.is_plan:
        return statement
    as_json = media_type.essence.endswith("+json")
    options = [f"format {'json' if as_json else 'text'}", *media_type.plan_options]
    return [f"explain ({', '.join(options)}) ", *statement]
