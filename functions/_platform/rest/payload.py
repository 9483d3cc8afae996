"""Request bodies: JSON (passed on to PostgreSQL as sent), CSV, forms, and raw bytes for functions of one parameter."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

from starlette.requests import Request

from functions._platform.rest import errors, media_types
from functions._platform.rest.errors import RestError
from functions._platform.rest.json_values import keys_of, refuse_invalid
from functions._platform.rest.media_types import MediaType
from functions._platform.rest.query.parameters import decoded_pairs, text_of
from functions._shared.errors import FunctionError, PayloadTooLarge
from functions._shared.web.bodies import read_raw

MAX_BODY_BYTES = 10 * 1024 * 1024
"""Memory bound of a request: a bulk insert of ten thousand rows of a kilobyte. Larger ones are several requests."""
MAX_CSV_JSON_BYTES = 3 * MAX_BODY_BYTES
"""Amplification bomb: as JSON each row of a CSV repeats the header's names, which may be megabytes."""
MAX_PAIRS = 10_000
"""Of a form: a table has at most 1600 columns, a function 100 parameters, a variadic one more arguments."""
MAX_INLINE_BYTES = 64 * 1024
LARGE = ThreadPoolExecutor(1, thread_name_prefix="rest-payload")
"""Larger bodies are parsed in a thread, as it takes seconds, and one at a time, as it takes memory."""
RAW = frozenset({media_types.TEXT, media_types.XML, media_types.BINARY})
UNREADABLE = "Empty or invalid json"

# The module's limit is global, and 128 KiB by default; a body is bounded already.
csv.field_size_limit(MAX_BODY_BYTES)
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
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
    parse = partial(payload_of, body, content_type, is_call=is_call, columns=columns)
    if len(body) <= MAX_INLINE_BYTES:
        return parse()
    return await asyncio.get_running_loop().run_in_executor(LARGE, parse)


def payload_of(
    body: bytes,
    content_type: MediaType,
    *,
    is_call: bool,
    columns: AbstractSet[str] | None = None,
) -> Payload:
    """Raises RestError: PGRST102, 22021, 413 for what would take too much memory."""
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
    if is_call and not body and columns is None:
        return Payload("json", b"{}")
    try:
        if columns is None:
            keys = keys_of(body)
            return NO_ROWS if keys is None else Payload("json", body, keys)
        text_of(body)
        if body.count(b"[") + body.count(b"{") > MAX_UNPARSED:
            refuse_invalid(body)
    except (ValueError, RecursionError):
        raise errors.invalid_body(UNREADABLE) from None
    return Payload("unchecked", body, frozenset(columns))


def _csv(text: str) -> Payload:
    """The first line names the columns. NULL is null, quoted as well; lines without any text are skipped."""
    lines = filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
    try:
        header = next(lines, None)
        if header is None:
            raise errors.invalid_body('parse error (not enough input) at ""')
        array = _array_of(header, lines)
    except csv.Error as error:
        raise errors.invalid_body(f"parse error ({error})") from None
    return Payload("json", array, frozenset(header)) if array != NO_ROWS.raw else NO_ROWS


def _array_of(header: list[str], lines: Iterator[list[str]]) -> bytes:
    """Written row by row: lists and objects of millions of short rows would take a gigabyte."""
    array = bytearray(b"[")
    for line in lines:
        if len(line) < len(header):
            raise errors.invalid_body("All lines must have same number of fields")
        fields = {
            name: None if text == "NULL" else text for name, text in zip(header, line, strict=False)
        }
        array += (b"," if len(array) > 1 else b"") + _encoded(fields)
        if len(array) > MAX_CSV_JSON_BYTES:
            raise _too_large(f"The CSV is larger than {MAX_CSV_JSON_BYTES >> 20} MiB as JSON")
    return bytes(array + b"]")


def _form(body: bytes, is_call: bool) -> Payload:
    if body.count(b"&") + body.count(b";") >= MAX_PAIRS:
        raise _too_large(f"The form has more than {MAX_PAIRS} fields")
    pairs = tuple((text_of(key), text_of(value or b"")) for key, value in decoded_pairs(body))
    if is_call:
        return Payload("form", keys=frozenset(key for key, _ in pairs), pairs=pairs)
    fields: Mapping[str, str] = dict(pairs)
    return Payload("json", _encoded(fields), frozenset(fields))


def _too_large(message: str) -> RestError:
    return errors.in_rest_form(PayloadTooLarge(message))


def _encoded(value: object) -> bytes:
    return ENCODER.encode(value).encode()
