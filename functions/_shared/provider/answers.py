"""An answer of the provider, read within bounds whatever it sends: so many bytes, also of what it unfolds to.

A few large ones are in memory at a time; the others wait for them.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from functions._shared import foreign

MAX_BYTES = 64 * 1024 * 1024
"""A list repeats the input pictures of a hundred predictions; an output may be data URIs."""
LARGE_BYTES = 1024 * 1024
LARGE_AT_ONCE = 2
MAX_REFUSAL_BYTES = 64 * 1024
"""Of an answer that is no success: it is words for people."""
GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``document`` is its JSON, made plain; None where it ``is_json`` not."""

    status: int
    reason: str
    retry_after: str | None
    text: str
    """The beginning of it, of a refusal only."""
    document: Any
    is_json: bool

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Reader:
    """One to a client. ``read`` raises httpx.HTTPError for an answer that is cut, too large or badly packed."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def read(self, response: httpx.Response) -> Answer:
        pieces: list[bytes] = []
        async with AsyncExitStack() as held:
            held.callback(
                pieces.clear
            )  # the traceback of an error would keep them for as long as it is kept
            size = 0
            async for piece in _unpacked(response):
                pieces.append(piece)
                size += len(piece)
                if not response.is_success and size > MAX_REFUSAL_BYTES:
                    break  # the rest is not waited for
                if size > LARGE_BYTES >= size - len(piece):
                    await held.enter_async_context(self._large)
            return _answer(response, b"".join(pieces))


async def _unpacked(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body's pieces. httpx would unfold a piece whole, and one of 64 KiB may hold gigabytes."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip"}:
        raise httpx.DecodingError(f"Content-Encoding {encoding[:20]}")
    unzip = zlib.decompressobj(wbits=GZIP) if encoding == "gzip" else None
    received = unfolded = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        if unzip:
            try:
                chunk = unzip.decompress(chunk, MAX_BYTES + 1 - unfolded)
            except zlib.error:
                raise httpx.DecodingError("not gzip") from None
        unfolded += len(chunk)
        if max(received, unfolded) > MAX_BYTES:
            raise httpx.DecodingError("too large")
        yield chunk
    if unzip and not unzip.eof:
        raise httpx.DecodingError("not whole gzip")


def _answer(response: httpx.Response, raw: bytes) -> Answer:
    try:
        document, is_json = foreign.read_json(raw), True
    except ValueError:
        document, is_json = None, False
    return Answer(
        status=response.status_code,
        reason=response.reason_phrase,
        retry_after=response.headers.get("retry-after"),
        text="" if response.is_success else foreign.text(raw.decode("utf-8", "replace")),
        document=document,
        is_json=is_json,
    )
