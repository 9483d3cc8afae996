"""Bounded decompression: what a body holds, or why it cannot be read, and never more than the limit."""

import gzip
import os
import tracemalloc

import pytest

from functions._shared.web.unpacking import (
    BadGzip,
    CutShort,
    TooLong,
    UnknownEncoding,
    Unpacker,
)

PLAIN = b"a picture" * 100
PACKED = gzip.compress(PLAIN)


def unpack(encoding, *chunks, limit=1000, overhead=0):
    unpacker = Unpacker(encoding, limit, overhead=overhead)
    pieces = [unpacker.feed(chunk) for chunk in chunks]
    unpacker.end()
    return b"".join(pieces), unpacker.trailing


@pytest.mark.parametrize(
    ("encoding", "chunks"),
    [
        (None, [PLAIN]),
        ("", [PLAIN[:7], PLAIN[7:]]),
        ("identity", [PLAIN]),
        ("gzip", [PACKED]),
        (" GZip ", [PACKED[i : i + 1] for i in range(len(PACKED))]),
    ],
)
def test_a_body_is_read(encoding, chunks):
    assert unpack(encoding, *chunks) == (PLAIN, False)


@pytest.mark.parametrize("chunks", [[PACKED + PACKED], [PACKED, b"more"], [PACKED + b"x", b""]])
def test_what_comes_behind_the_end_is_told_and_not_read(chunks):
    assert unpack("gzip", *chunks) == (PLAIN, True)


def test_an_empty_body_is_whole():
    assert unpack("gzip") == unpack("gzip", b"") == (b"", False)


@pytest.mark.parametrize(
    ("encoding", "chunks", "refusal"),
    [
        ("gzip", [PACKED[:-1]], CutShort),
        ("gzip", [PLAIN], BadGzip),
        (None, [bytes(1000), b"1"], TooLong),
        ("gzip", [gzip.compress(bytes(1001))], TooLong),
        ("gzip", [gzip.compress(bytes(1000)), bytes(1000)], TooLong),
        ("gzip", [gzip.compress(b"")[:10], *[b"\0\0\0\xff\xff"] * 200], TooLong),
        ("br", [], UnknownEncoding),
    ],
)
def test_what_cannot_be_read_says_why(encoding, chunks, refusal):
    with pytest.raises(refusal):
        unpack(encoding, *chunks)


def test_the_limit_itself_is_allowed():
    for encoding, chunk in (("gzip", gzip.compress(bytes(1000))), ("identity", bytes(1000))):
        assert unpack(encoding, chunk) == (bytes(1000), False)


def test_an_encoding_is_named_by_its_beginning():
    with pytest.raises(UnknownEncoding, match=f"^{'x' * 20}$"):
        Unpacker("X" * 1000, 1)


def test_a_bomb_is_not_unpacked_beyond_the_limit():
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(TooLong):
            unpack("gzip", bomb, limit=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_gzip_of_what_cannot_be_compressed_may_be_longer_than_the_limit():
    noise = os.urandom(1 << 20)
    packed = gzip.compress(noise, 0)
    assert len(packed) > len(noise)
    assert unpack("gzip", packed, limit=len(noise), overhead=1000) == (noise, False)
    with pytest.raises(TooLong):
        unpack("gzip", packed, limit=len(noise))
