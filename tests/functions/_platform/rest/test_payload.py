"""Request bodies: what is passed on, which keys are known of it, and what is refused."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from functions._platform.rest import media_types as types
from functions._platform.rest.errors import RestError
from functions._platform.rest.media_types import MediaType, decode
from functions._platform.rest.payload import MAX_BODY_BYTES, Payload, payload_of, read_payload

JSON = types.JSON


def rows(raw: bytes, *keys: str) -> Payload:
    return Payload("json", raw, frozenset(keys))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1, "b":[{"c":2}]}', rows(b'{"a":1, "b":[{"c":2}]}', "a", "b")),
        (b" {} ", rows(b" {} ")),
        (b'[{"a":1},{"a":2}]', rows(b'[{"a":1},{"a":2}]', "a")),
        (b'[{"a":1,"b":2},{"b":2,"a":1}]', rows(b'[{"a":1,"b":2},{"b":2,"a":1}]', "a", "b")),
        (b"[{},{}]", rows(b"[{},{}]")),
        (b"[]", rows(b"[]")),
        (b"1", rows(b"[]")),
        (b'"text"', rows(b"[]")),
        (b"null", rows(b"[]")),
        (b'{"a":123456789012345678901234567890.5}',
         rows(b'{"a":123456789012345678901234567890.5}', "a")),
        (b' [ { "a" : 1 } , {"a":2} ] ', rows(b' [ { "a" : 1 } , {"a":2} ] ', "a")),
        (b'{"a":%s}' % (b"1" * 10_000), rows(b'{"a":%s}' % (b"1" * 10_000), "a")),
        (b'{"a":"\\u0000"}', rows(b'{"a":"\\u0000"}', "a")),
    ],
)  # fmt: skip
def test_json_is_passed_on_as_it_was_sent(body: bytes, expected: Payload):
    assert payload_of(body, JSON, is_call=False) == expected
    assert payload_of(body, JSON, is_call=True) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Empty or invalid json"),
        (b"{", "Empty or invalid json"),
        (b"{} {}", "Empty or invalid json"),
        (b'{"a":NaN}', "Empty or invalid json"),
        (b'{"a":"\xff"}', "Empty or invalid json"),
        (b'[{"a":1},{"b":1}', "Empty or invalid json"),
        (b'[{"a":1},]', "Empty or invalid json"),
        (b'[{"a":1}{"a":1}]', "Empty or invalid json"),
        (b'{"a":-Infinity}', "Empty or invalid json"),
        (b'[{"a":"\t"}]', "Empty or invalid json"),
        (b"[" * 100_000, "Empty or invalid json"),
        (b'[{"a":1},{"b":1}]', "All object keys must match"),
        (b'[{"a":1},{"a":1,"b":1}]', "All object keys must match"),
        (b'[{"a":1},1]', "All object keys must match"),
        (b"[1,2]", "All object keys must match"),
        (b"[[]]", "All object keys must match"),
    ],
)
def test_json_that_is_none_or_not_uniform_is_refused(body: bytes, message: str):
    _refused(body, JSON, message)


def test_a_call_without_a_body_has_no_arguments():
    assert payload_of(b"", JSON, is_call=True) == rows(b"{}")


def test_with_columns_the_body_is_postgresqls_to_judge():
    columns = {"a", "b"}
    expected = Payload("unchecked", b"[{},1", frozenset(columns))
    assert payload_of(b"[{},1", JSON, is_call=False, columns=columns) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a,b\n1,x\n", [{"a": "1", "b": "x"}]),
        ("a,b\r\n1,NULL\r\n,", [{"a": "1", "b": None}, {"a": "", "b": ""}]),
        ('a\n"x,""y""\nz"\n"NULL"', [{"a": 'x,"y"\nz'}, {"a": None}]),
        ("a\n1,2", [{"a": "1"}]),
        ("a\n\n1\n", [{"a": "1"}]),
        ("größe\né", [{"größe": "é"}]),
    ],
)
def test_csv_becomes_rows_of_texts(body: str, expected: list[dict[str, str | None]]):
    payload = payload_of(body.encode(), types.CSV, is_call=False)
    assert json.loads(payload.raw) == expected
    assert (payload.kind, payload.keys) == ("json", frozenset(expected[0]))


def test_csv_of_a_header_alone_has_no_rows():
    assert payload_of(b"a,b", types.CSV, is_call=False) == rows(b"[]")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", 'parse error (not enough input) at ""'),
        (b"a,b\n1", "All lines must have same number of fields"),
        (b'a\n"1', "parse error (unexpected end of data)"),
    ],
)
def test_csv_that_is_none_is_refused(body: bytes, message: str):
    _refused(body, types.CSV, message)


def test_a_long_field_of_csv_is_read():
    text = "x" * 1_000_000
    payload = payload_of(f"a\n{text}".encode(), types.CSV, is_call=False)
    assert json.loads(payload.raw) == [{"a": text}]


def test_a_form_is_a_row_of_texts_and_a_calls_arguments():
    body, pairs = b"a=1+2&b=%C3%A9&a=3&c", (("a", "1 2"), ("b", "é"), ("a", "3"), ("c", ""))
    keys = frozenset("abc")
    assert payload_of(body, types.FORM, is_call=True) == Payload("form", b"", keys, pairs)
    row = payload_of(body, types.FORM, is_call=False)
    assert (json.loads(row.raw), row.keys) == ({"a": "3", "b": "é", "c": ""}, keys)


@pytest.mark.parametrize("content_type", [types.TEXT, types.XML, types.BINARY])
def test_raw_bytes_are_a_calls_one_parameter(content_type: MediaType):
    assert payload_of(b"<a/>", content_type, is_call=True) == Payload("raw", b"<a/>")
    _refused(b"<a/>", content_type, f"Content-Type not acceptable: {content_type.mime}")


def test_bytes_may_be_any_and_text_must_be_storable():
    assert payload_of(b"\0\xff", types.BINARY, is_call=True).raw == b"\0\xff"
    for content_type in (types.TEXT, types.XML):
        with pytest.raises(RestError, match="0x00"):
            payload_of(b"\0", content_type, is_call=True)
    for content_type in (types.CSV, types.FORM):
        with pytest.raises(RestError, match="0xff"):
            payload_of(b"a=\xff", content_type, is_call=False)
    with pytest.raises(RestError, match="0x00"):
        payload_of(b"\0", JSON, is_call=False, columns={"a"})


@pytest.mark.parametrize("sent", ["image/png", "multipart/form-data; boundary=x"])
def test_other_types_are_refused(sent: str):
    for is_call in (False, True):
        with pytest.raises(RestError, match=f"Content-Type not acceptable: {sent}"):
            payload_of(b"x", decode(sent), is_call=is_call)


@given(
    st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode(errors="replace")),
    st.sampled_from([JSON, types.CSV, types.FORM, types.TEXT, types.BINARY, types.ANY]),
    st.booleans(),
)
def test_any_body_is_read_or_refused(body: bytes, content_type: MediaType, is_call: bool):
    status = 400
    try:
        payload_of(body, content_type, is_call=is_call)
    except RestError as error:
        status = error.status
    assert status == 400


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "content_type", "columns"),
    [
        (b"[" + b",".join([b"{}"] * 200_000) + b"]", JSON, None),
        (b"[" + b",".join([b'{"a":1}'] * 100_000) + b"]", JSON, None),
        (b"[" + b",".join([b"{}"] * 200_000) + b"]", JSON, {"a"}),
        (b"a\n" * 100_000, types.CSV, None),
    ],
)
def test_millions_of_short_rows_do_not_take_many_times_their_bytes(body, content_type, columns):
    tracemalloc.start()
    payload_of(body, content_type, is_call=False, columns=columns)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * MEBIBYTE


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        # Amplification: ten rows of a byte would be ten megabytes of JSON each.
        (b"a" * MEBIBYTE + b"\n" + b"1\n" * 100, types.CSV),
        (b"a=1&" * 10_001, types.FORM),
        (b"a=1;" * 10_001, types.FORM),
    ],
)
def test_a_body_that_would_take_too_much_memory_is_refused(body: bytes, content_type: MediaType):
    with pytest.raises(RestError) as refused:
        payload_of(body, content_type, is_call=True)
    assert (refused.value.status, refused.value.code) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_large_body_does_not_block_the_event_loop():
    body = b"[" + b",".join([b'{"a":1}'] * 300_000) + b"]"
    reading = asyncio.create_task(read_payload(request_of([body]), JSON, is_call=False))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert reading.result().keys == {"a"}
    assert turns > 20


def _refused(body: bytes, content_type: MediaType, message: str) -> None:
    with pytest.raises(RestError) as refused:
        payload_of(body, content_type, is_call=False)
    error = refused.value
    assert (error.status, error.code, error.message) == (400, "PGRST102", message)


def request_of(chunks: Iterable[bytes], **headers: str) -> Request:
    parts = iter(chunks)

    async def receive() -> Message:
        chunk = next(parts, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


async def test_a_body_of_ten_mebibytes_is_read():
    text = b'{"a":"' + b"x" * (MAX_BODY_BYTES - 8) + b'"}'
    payload = await read_payload(request_of([text]), JSON, is_call=False)
    assert payload == rows(text, "a")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (request_of([], content_length=str(MAX_BODY_BYTES + 1)), 413, "PAYLOAD_TOO_LARGE"),
        (request_of([b"x" * MAX_BODY_BYTES, b"x"]), 413, "PAYLOAD_TOO_LARGE"),
        (request_of([gzip.compress(b"x" * MAX_BODY_BYTES * 2)], content_encoding="gzip"), 413,
         "PAYLOAD_TOO_LARGE"),
        (request_of([b"x"], content_encoding="br"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)  # fmt: skip
async def test_a_body_that_cannot_be_read_is_refused_in_rests_form(
    request_: Request, status: int, code: str
):
    with pytest.raises(RestError) as refused:
        await read_payload(request_, JSON, is_call=False)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert set(json.loads(refused.value.body())) == {"code", "details", "hint", "message"}


async def test_a_compressed_body_is_unpacked():
    request = request_of([gzip.compress(b'{"a":1}')], content_encoding="gzip")
    assert await read_payload(request, JSON, is_call=False) == rows(b'{"a":1}', "a")
