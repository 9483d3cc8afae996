"""The result of a request's statement → its HTTP response."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from psycopg.pq.abc import PGresult

from functions._platform.rest import errors
from functions._platform.rest.database_errors import FRAMING, TOKEN
from functions._platform.rest.errors import CONTROL
from functions._platform.rest.planned import Planned
from functions._platform.rest.preferences import Preferences
from functions._platform.rest.request import Asked

Headers = list[tuple[str, str]]
JSONB_OID = 3802
READ_COLUMNS = ("body", "headers", "status")
WRITE_COLUMNS = ("location", "body", "headers", "status", "inserted")
"""Behind total and rows."""
VARY = "Accept, Prefer, Range"
WARN_AGENT = "PostgRESTv14"
"""The version whose API this is."""
LEGACY_NAME = (
    "Embedded resource was referenced by relation name even though it has an alias. This is deprecated and will stop"
    " working in a future release."
)


@dataclass(frozen=True)
class Answer:
    """An HTTP response. ``body`` None: none, not even an empty one (204, HEAD)."""

    status: int
    headers: Headers
    body: bytes | None


@dataclass(frozen=True)
class Row:
    """The statement's one row (see sql/statement.py). ``has_body``: it is not NULL."""

    total: int | None
    rows: int
    body: bytes
    headers: bytes | None
    status: bytes | None
    has_body: bool = True
    location: bytes | None = None
    inserted: int | None = None


def row_of(result: PGresult) -> Row:
    """From a result in the binary format; that of text and json is the text itself."""
    total, rows, *told = (result.get_value(0, number) for number in range(result.nfields))
    writes = len(told) == len(WRITE_COLUMNS)
    named = dict(zip(WRITE_COLUMNS if writes else READ_COLUMNS, told, strict=True))
    body = named["body"] or b""
    if result.ftype(3 if writes else 2) == JSONB_OID:
        body = body[1:]  # the version of the format
    return Row(
        total=_integer(total),
        rows=_integer(rows) or 0,
        body=body,
        headers=named["headers"],
        status=named["status"],
        has_body=named["body"] is not None,
        location=named.get("location"),
        inserted=_integer(named.get("inserted")),
    )


def _integer(data: bytes | None) -> int | None:
    return None if data is None else int.from_bytes(data, signed=True)


def with_estimate(row: Row, explained: PGresult, asked: Asked, most: int | None) -> Row:
    """The planner's row count as the total: count=planned, or count=estimated above ``most``, the largest answer."""
    [plan] = json.loads(explained.get_value(0, 0) or b"[{}]")
    estimate: int | None = plan.get("Plan", {}).get("Plan Rows")
    if asked.preferences.count == "planned" or estimate is None:
        return replace(row, total=estimate)
    exceeds = row.total is not None and (most is None or row.total > most)
    return replace(row, total=max(row.total or 0, estimate)) if exceeds else row


def answer(asked: Asked, planned: Planned, row: Row) -> Answer:
    """Raises RestError: PGRST111, PGRST112."""
    made = _MAKERS[planned.action](_Made(asked, planned, row))
    return _overridden(made, row)


def plan_answer(asked: Asked, planned: Planned, result: PGresult) -> Answer:
    """Of an execution plan: a line per row."""
    lines = [result.get_value(number, 0) or b"" for number in range(result.ntuples)]
    body = b"".join(line + b"\n" for line in lines)
    headers = [_length(body), *_content_type(asked, planned), ("Vary", VARY)]
    return Answer(200, headers, body)


@dataclass(frozen=True)
class _Made:
    asked: Asked
    planned: Planned
    row: Row

    @property
    def wants(self) -> str | None:
        return self.asked.preferences.representation

    @property
    def counted(self) -> int | None:
        """The total of written rows, where it is asked for."""
        wanted = self.asked.preferences.count in {"exact", "estimated"}
        return self.row.rows if wanted else None

    @property
    def applied(self) -> Headers:
        value = _applied(self.asked, self.planned).applied()
        return [("Preference-Applied", value)] if value else []

    def represented(self) -> Headers:
        return [_length(self.row.body), *_content_type(self.asked, self.planned)]


def _read(made: _Made) -> Answer:
    answer = _windowed(made)
    query = f"?{made.asked.canonical}" if made.asked.canonical else ""
    location = f"/{made.asked.resource.name}{query}"
    located = ("Content-Location", location.encode(errors="replace").decode("latin-1"))
    return replace(answer, headers=[answer.headers[0], located, *answer.headers[1:]])


def _call(made: _Made) -> Answer:
    routine = made.planned.routine
    if routine and routine.returns_void:
        _, content_range = _range(made)
        return Answer(204, [content_range, *made.applied], None)
    return _windowed(made)


def _windowed(made: _Made) -> Answer:
    status, content_range = _range(made)
    body = made.row.body
    if status == 416:
        offset, total = made.asked.window.offset, made.row.total or 0
        body = errors.range_out_of_bounds(offset, total).body()
    is_head = made.asked.is_head
    headers = [content_range, *([] if is_head else [_length(body)])]
    headers += [*_content_type(made.asked, made.planned), *made.applied]
    return Answer(status, headers, None if is_head else body)


def _range(made: _Made) -> tuple[int, tuple[str, str]]:
    first, total = made.asked.window.offset, made.row.total
    last = first + made.row.rows - 1
    status = 200
    if total is not None and first > total:
        status = 416
    elif total is not None and made.row.rows < total:
        status = 206
    return status, _content_range(first, last, total)


def _content_range(first: int, last: int, total: int | None) -> tuple[str, str]:
    rows = f"{first}-{last}" if total != 0 and first <= last else "*"
    return "Content-Range", f"{rows}/{'*' if total is None else total}"


def _insert(made: _Made) -> Answer:
    row = made.row
    headers: Headers = []
    if row.location:
        headers.append(("Location", _location(made.asked.resource.name, row.location)))
    headers += [_content_range(1, 0, made.counted), *made.applied]
    merged = made.asked.preferences.resolution == "merge-duplicates"
    status = 200 if merged and row.inserted is not None and row.inserted <= 0 else 201
    if made.wants == "representation":
        return Answer(status, [*headers, *made.represented()], row.body)
    return Answer(status, [_length(b""), *headers], b"")


def _location(name: str, pairs: bytes) -> str:
    columns = (pair.partition("=") for pair in json.loads(pairs))
    query = "&".join(f"{_encoded(column)}={_encoded(value)}" for column, _, value in columns)
    return f"/{name}?{query}".encode(errors="replace").decode("latin-1")


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~", errors="replace")


def _update(made: _Made) -> Answer:
    headers = [_content_range(0, made.row.rows - 1, made.counted), *made.applied]
    return _written(made, 200, headers)


def _delete(made: _Made) -> Answer:
    return _written(made, 200, [_content_range(1, 0, made.counted), *made.applied])


def _upsert(made: _Made) -> Answer:
    return _written(made, 201 if (made.row.inserted or 0) > 0 else 200, made.applied)


def _written(made: _Made, status: int, headers: Headers) -> Answer:
    if made.wants == "representation":
        return Answer(status, [*headers, *made.represented()], made.row.body)
    return Answer(204, headers, None)


_MAKERS = {
    "read": _read,
    "call": _call,
    "insert": _insert,
    "update": _update,
    "upsert": _upsert,
    "delete": _delete,
}


def _length(body: bytes) -> tuple[str, str]:
    return "Content-Length", str(len(body))


def _content_type(asked: Asked, planned: Planned) -> Headers:
    headers = [("Content-Type", planned.media_type.content_type)]
    return [*headers, *profile(asked)]


def profile(asked: Asked) -> Headers:
    """Content-Profile, where there is a choice of schemas."""
    schema = asked.resource.schema.encode(errors="replace").decode("latin-1")
    return [("Content-Profile", schema)] if asked.profile else []


def _applied(asked: Asked, planned: Planned) -> Preferences:
    """The preferences that concern this action."""
    action, sent = planned.action, asked.preferences
    writes = action not in {"read", "call"}
    return replace(
        sent,
        resolution=sent.resolution if action == "insert" and planned.has_keys else None,
        representation=sent.representation if writes else None,
        missing=sent.missing if action in {"insert", "update"} else None,
        max_affected=sent.max_affected if action in {"update", "delete", "call"} else None,
    )


def legacy_warning(renamed: tuple[tuple[str, str], ...]) -> Headers:
    if not renamed:
        return []
    changes = ", ".join(f"`{name}` to `{alias}`" for name, alias in renamed)
    text = f"{LEGACY_NAME} Update {changes} in query string filters, orders or limits."
    value = f'299 {WARN_AGENT} "{text}"'
    return [("Warning", value.encode(errors="replace").decode("latin-1"))]


def _overridden(made: Answer, row: Row) -> Answer:
    """With what the SQL has set as response.status and response.headers."""
    headers = made.headers
    if row.headers is not None:
        own = [pair for pair in _own_headers(row.headers) if pair[0].lower() not in FRAMING]
        names = {name.lower() for name, _ in own}
        headers = [pair for pair in headers if pair[0].lower() not in names] + own
    if not any(name.lower() == "vary" for name, _ in headers):
        headers = [*headers, ("Vary", VARY)]
    status = made.status if row.status is None else _own_status(row.status)
    return Answer(status, headers, made.body)


def _own_status(setting: bytes) -> int:
    digits = re.match(rb"[0-9]{1,9}", setting)
    if digits is None or not 200 <= int(digits[0]) <= 599:
        raise errors.invalid_response_status()
    return int(digits[0])


def _own_headers(setting: bytes) -> Headers:
    """A JSON array of objects with one key each. No control characters: they would split the response."""
    try:
        told = json.loads(setting)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, list) or not all(map(_is_header, told)):
        raise errors.invalid_response_headers()
    pairs = (pair for each in told for pair in each.items())
    return [(name, value.encode(errors="replace").decode("latin-1")) for name, value in pairs]


def _is_header(told: Any) -> bool:
    if not isinstance(told, Mapping) or len(told) != 1:
        return False
    [(name, value)] = told.items()
    return bool(TOKEN.fullmatch(name)) and isinstance(value, str) and not CONTROL.search(value)
