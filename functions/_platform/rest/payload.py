"""Request bodies: JSON (passed on to PostgreSQL as sent), CSV, forms, and raw bytes for functions of one parameter."""

import csv
import io
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import from_json
from starlette.requests import Request

from functions._platform.rest import errors, media_types
from functions._platform.rest.media_types import MediaType
from functions._platform.rest.query.parameters import decoded_pairs, text_of
from functions._shared.errors import FunctionError
from functions._shared.web.bodies import read_raw

MAX_BODY_BYTES = 10 * 1024 * 1024
"""Memory bound of a request: a bulk insert of ten thousand rows of a kilobyte. Larger ones are several requests."""
RAW = frozenset({media_types.TEXT, media_types.XML, media_types.BINARY})
UNREADABLE = "Empty or invalid json"

# The module's limit is global, and 128 KiB by default; a body is bounded already.
csv.field_size_limit(MAX_BODY_BYTES)
JSON_SPACE = b" \t\r\n"
MAX_UNPARSED = 1000
"""Brackets of a body that is passed on unparsed: more could be nested so deep that PostgreSQL's stack ends (54001)."""


@dataclass(frozen=True)
class Payload:
    """``kind`` json: ``raw`` is a JSON object, or an array of objects that all have ``keys``.

    ``kind`` unchecked (``columns=`` was given): ``raw`` is whatever JSON the client sent, ``keys`` are those columns.
    ``kind`` form (calls only): ``pairs``, as sent; ``raw`` is empty. ``kind`` raw (calls only): the bytes of one
    unnamed parameter of type text, xml or bytea.
    """

    kind: Literal["json", "unchecked", "form", "raw"]
    raw: bytes = b""
    keys: frozenset[str] = frozenset()
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def is_object(self) -> bool:
        """Of JSON: an object, not an array. PostgreSQL finds out whether it is well-formed."""
        return self.raw.lstrip(JSON_SPACE)[:1] == b"{"


NO_ROWS = Payload("json", b"[]")


async def read_payload(
    request: Request,
    content_type: MediaType,
    *,
    is_call: bool,
    columns: AbstractSet[str] | None = None,
) -> Payload:
    """The body of a POST, PATCH or PUT.

    ``columns``: those of ``columns=``, honoured by POST and PATCH. Raises RestError: PGRST102 and 22021 (400), 413 for
    a body above MAX_BODY_BYTES, 408 for one that arrives too slowly, 415 for an unknown Content-Encoding.
    """
    try:
        body = await read_raw(request, MAX_BODY_BYTES)
    except FunctionError as error:
        raise errors.in_rest_form(error) from None
    return payload_of(body, content_type, is_call=is_call, columns=columns)


def payload_of(
    body: bytes,
    content_type: MediaType,
    *,
    is_call: bool,
    columns: AbstractSet[str] | None = None,
) -> Payload:
    """Raises RestError."""
    if content_type == media_types.JSON:
        return _json(body, is_call, columns)
    if content_type == media_types.CSV:
        return _csv(text_of(body))
    if content_type == media_types.FORM:
        return _form(body, is_call)
    if content_type in RAW and is_call:
        if content_type != media_types.BINARY:
            text_of(body)
        return Payload("raw", body)
    raise errors.invalid_body(f"Content-Type not acceptable: {content_type.mime}")


def _json(body: bytes, is_call: bool, columns: AbstractSet[str] | None) -> Payload:
    if columns is not None:
        text_of(body)
        if body.count(b"[") + body.count(b"{") > MAX_UNPARSED:
            _parsed(body)
        return Payload("unchecked", body, frozenset(columns))
    if is_call and not body:
        return Payload("json", b"{}")
    return _rows(body, _parsed(body), "All object keys must match")


def _parsed(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:  # also of nesting deeper than the parser's bound
        raise errors.invalid_body(UNREADABLE) from None


def _rows(body: bytes, parsed: Any, differing: str) -> Payload:
    """An object, or an array of objects with the same keys; a scalar counts as no rows, as upstream has it."""
    if isinstance(parsed, dict):
        return Payload("json", body, frozenset(parsed))
    if not isinstance(parsed, list) or not parsed:
        return NO_ROWS
    keys = parsed[0].keys() if isinstance(parsed[0], dict) else None
    if keys is None or any(not isinstance(row, dict) or row.keys() != keys for row in parsed):
        raise errors.invalid_body(differing)
    return Payload("json", body, frozenset(keys))


def _csv(text: str) -> Payload:
    """The first line names the columns. NULL is null, quoted as well; lines without any text are skipped."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise errors.invalid_body(f"parse error ({error})") from None
    if not lines:
        raise errors.invalid_body('parse error (not enough input) at ""')
    header, *rows = lines
    if any(len(row) < len(header) for row in rows):
        raise errors.invalid_body("All lines must have same number of fields")
    objects = [
        {name: None if text == "NULL" else text for name, text in zip(header, row, strict=False)}
        for row in rows
    ]
    return _rows(_encoded(objects), objects, "") if objects else NO_ROWS


def _form(body: bytes, is_call: bool) -> Payload:
    pairs = tuple((text_of(key), text_of(value or b"")) for key, value in decoded_pairs(body))
    if is_call:
        return Payload("form", keys=frozenset(key for key, _ in pairs), pairs=pairs)
    fields: Mapping[str, str] = dict(pairs)
    return Payload("json", _encoded(fields), frozenset(fields))


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
