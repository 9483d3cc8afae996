"""Responses of the provider, read within bounds: size as received and unpacked, and how many large ones at a time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx

from functions._shared import foreign
from functions._shared.provider.waits import HEADERS
from functions._shared.web.unpacking import NotUnpacked, Unpacker

MAX_BYTES = 64 * 1024 * 1024
"""A list repeats the source pictures of a hundred predictions; an output may be data URIs."""
LARGE_BYTES = 1024 * 1024
LARGE_AT_ONCE = 2
"""Memory bound: how many responses above LARGE_BYTES are read concurrently; others wait."""
MAX_REFUSAL_BYTES = 64 * 1024
"""Of a response that is no success: it is text for people."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``document`` is the body as JSON, sanitised (``foreign.py``); None unless it ``is_json``."""

    status: int
    reason: str
    text: str
    """The beginning of the body, of a response that is no success only."""
    document: Any
    is_json: bool
    limits: Mapping[str, str] = field(default_factory=dict)
    """The rate limit headers (``waits.HEADERS``), by their names in lower case."""
    location: str | None = None
    """Of a redirect: its target as sent, an address or a path."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Reader:
    """One per client. ``read`` raises httpx.HTTPError for a response that is cut short, too large or badly encoded."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def read(self, response: httpx.Response) -> Answer:
        pieces: list[bytes] = []
        async with AsyncExitStack() as held:
            # A traceback keeps its frames' variables alive for as long as the error itself.
            held.callback(pieces.clear)
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
    """The body's chunks. httpx would unpack a received chunk whole, and one of 64 KiB may hold 64 MiB."""
    try:
        unpacker = Unpacker(response.headers.get("content-encoding"), MAX_BYTES)
        async for chunk in response.aiter_raw():
            yield unpacker.feed(chunk)
        unpacker.end()
    except NotUnpacked as error:
        raise httpx.DecodingError(type(error).__name__) from None


def _answer(response: httpx.Response, raw: bytes) -> Answer:
    try:
        document, is_json = foreign.read_json(raw), True
    except ValueError:
        document, is_json = None, False
    return Answer(
        status=response.status_code,
        reason=response.reason_phrase,
        text="" if response.is_success else foreign.text(raw.decode("utf-8", "replace")),
        document=document,
        is_json=is_json,
        limits={name: response.headers[name] for name in HEADERS if name in response.headers},
        location=response.headers.get("location") if response.is_redirect else None,
    )
