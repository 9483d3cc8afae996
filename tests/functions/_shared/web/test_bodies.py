"""Bodies are parsed by pydantic's parser: to the values that Python's gives, and refused where that refuses them."""

import json
import struct
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions._shared.web.bodies import _parsed

ODD = [
    *(b"-0", b"-0.0", b"1e400", b"1E5", b"1e-400", b"5e-324", b"9223372036854775808"),
    *(b"9" * 4300, b"9" * 4301, b"1." + b"0" * 30 + b"1", b"01", b"1.", b".5", b"+1"),
    *(b"NaN", b"Infinity", b"-Infinity", b'{"a": NaN}', b"nan", b"tru", b"", b"[1,]", b'{"a":1}x'),
    *(b'{"a":1,"a":2}', b" {} \n", b"\x0c{}", b"{}\x00", b"\x00{}", b"'a'"),
    *(rb'"\ud800"', rb'{"\udfff":1}', rb'"\ud83d\ude00"', rb'"\u0000"', rb'"\x"', rb'"\u12G4"'),
    *(b'"\xed\xa0\x80"', b'"\xff"', b'"\x01"', b'"\x7f"', b"\xef\xbb\xbf{}"),
    *('{"a":"b"}'.encode("utf-16"), '{"a":"b"}'.encode("utf-16-le")),
    *(b"[" * deep + b"]" * deep for deep in (100, 300, 100_000)),
]


def refuse(name: str) -> NoReturn:
    raise ValueError(name)


def outcome(parse: Any, raw: bytes) -> str:
    try:
        return repr(parse(raw))
    except (ValueError, RecursionError):
        return "refused"


def pythons(raw: bytes) -> Any:
    return json.loads(raw, parse_constant=refuse)


@pytest.mark.parametrize("raw", ODD, ids=lambda raw: repr(raw[:20]))
def test_an_odd_body_is_read_as_python_reads_it(raw: bytes):
    assert outcome(_parsed, raw) == outcome(pythons, raw)


@given(st.binary(min_size=8, max_size=8))
def test_numbers_are_the_same_to_the_last_bit(eight: bytes):
    [number] = struct.unpack("d", eight)
    for text in (repr(number), f"{number:.25e}", f"{number:.3f}"):
        assert outcome(_parsed, text.encode()) == outcome(pythons, text.encode())
