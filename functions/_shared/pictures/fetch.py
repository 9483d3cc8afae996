"""Downloads from untrusted URLs, with SSRF protection.

Outputs come from the provider's delivery hosts (OUTPUT_HOSTS) only. A source picture may be on any public host: its
name is resolved once, refused unless all its addresses are public, and the connection is pinned to the address (DNS
rebinding). Redirects are followed by hand, each hop checked like the first. Size and time are bounded.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Self

import httpx

from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.pictures.data_uris import decode_data_uri
from functions._shared.pictures.storage import Storage
from functions._shared.settings import Settings
from functions._shared.web.addresses import Target, as_is, named, parse, pinned, public_https
from functions._shared.web.unpacking import (
    BadGzip,
    CutShort,
    TooLong,
    UnknownEncoding,
    Unpacker,
)

GZIP_OVERHEAD_BYTES = 64 * 1024
MAX_OUTPUT_BYTES = 50 * 1024 * 1024
MAX_SOURCE_BYTES = 20 * 1024 * 1024
TIMEOUT_S = 30
"""Overall deadline of a download, redirects included."""
MAX_HOPS = 5
REDIRECTS = {301, 302, 303, 307, 308}

Check = Callable[[httpx.URL], Awaitable[Target]]
"""Whether and how a URL may be requested; raises InvalidRequest or GenerationFailed."""


@dataclass(frozen=True)
class Fetcher:
    """``storage`` is our own; ``provider`` the API's URL, beside ``output_hosts``, with all their subdomains."""

    http: httpx.AsyncClient
    storage: Storage
    provider: httpx.URL
    output_hosts: frozenset[str]
    user_agent: str
    most_pixels: int
    """Of an output that is converted."""

    @classmethod
    def from_settings(cls, settings: Settings, http: httpx.AsyncClient, storage: Storage) -> Self:
        return cls(
            http=http,
            storage=storage,
            provider=httpx.URL(str(settings.replicate_api_url)),
            output_hosts=settings.output_hosts,
            user_agent=user_agent(settings.public_base),
            most_pixels=settings.max_source_pixels,
        )

    async def output(self, url: str) -> bytes:
        """The picture that a prediction delivered. Raises GenerationFailed, to be retried for a failed transfer."""
        try:
            if url.startswith("data:"):
                return await asyncio.to_thread(decode_data_uri, url, MAX_OUTPUT_BYTES)
            return await self._download(url, self._check_output, MAX_OUTPUT_BYTES)
        except InvalidRequest as refused:  # the provider's fault, not the caller's
            raise GenerationFailed(str(named("Output address", refused)), retry=False) from None

    async def source(self, url: str) -> bytes:
        """The user's source picture. Raises InvalidRequest for a URL that is not allowed, else GenerationFailed."""
        try:
            if url.startswith("data:"):
                return await asyncio.to_thread(decode_data_uri, url, MAX_SOURCE_BYTES)
            return await self._download(url, self._check_source, MAX_SOURCE_BYTES)
        except InvalidRequest as refused:
            raise named("source_image_url", refused) from None

    def check_source(self, url: str) -> None:
        """Refuse early what ``source`` would refuse, as far as that needs no request. Raises InvalidRequest."""
        try:
            if url.startswith("data:"):
                decode_data_uri(url, MAX_SOURCE_BYTES)
                return
            target = parse(url)
            if self.storage.own_address(target) is None:
                public_https(target)
        except InvalidRequest as refused:
            raise named("source_image_url", refused) from None

    async def _check_output(self, target: httpx.URL) -> Target:
        delivered = target.scheme == "https" and any(
            f".{target.host}".endswith(f".{host}") for host in self.output_hosts
        )
        same = ("scheme", "host", "port")
        if delivered or all(getattr(target, part) == getattr(self.provider, part) for part in same):
            return as_is(target)
        raise GenerationFailed(
            f"Output address is not on a host of the provider: {target.host}", retry=False
        )

    async def _check_source(self, target: httpx.URL) -> Target:
        own = self.storage.own_address(target)
        return as_is(own) if own else await pinned(public_https(target))

    async def _download(self, url: str, check: Check, limit: int) -> bytes:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                target = parse(url)
                for _ in range(MAX_HOPS + 1):
                    hop = await check(target)
                    async with self.http.stream(
                        "GET",
                        hop.url,
                        # Pictures are compressed already: an encoding would only serve a decompression bomb.
                        headers={
                            "User-Agent": self.user_agent,
                            "Accept-Encoding": "identity",
                            **hop.headers,
                        },
                        extensions=hop.extensions,
                    ) as response:
                        if response.status_code not in REDIRECTS:
                            return await _read(response, limit)
                        target = parse(response.headers.get("location", ""), relative_to=target)
        except (
            UnicodeError
        ):  # httpx parses each Location even when it does not follow it; idna's errors come through
            raise GenerationFailed(
                "the image redirects to what is no address", retry=False
            ) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise GenerationFailed(
                f"the image could not be fetched ({type(error).__name__})"
            ) from None
        raise GenerationFailed(f"the image is more than {MAX_HOPS} redirects away", retry=False)


def user_agent(base: str) -> str:
    """User-Agent with the project's name and an address: image hosts refuse the generic one of an HTTP library."""
    contact = f" (+{base})" if base.startswith("https://") else ""
    return f"picture-edge/{version('picture-edge')}{contact}"


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body, gzip undone: some hosts send it unasked. A truncated body is an httpx.HTTPError."""
    if response.status_code != 200:
        gone = response.status_code in {401, 403, 404, 410}
        raise GenerationFailed(f"the image answered {response.status_code}", retry=not gone)
    # getvalue() shares its buffer: a list of chunks would be joined into a second copy.
    body = io.BytesIO()
    encoding = response.headers.get("content-encoding")
    try:
        # A picture cannot be compressed further: gzip, sent unasked, makes it longer by some bytes a block.
        unpacker = Unpacker(encoding, limit, overhead=limit // 1000 + GZIP_OVERHEAD_BYTES)
        async for chunk in response.aiter_raw():
            body.write(unpacker.feed(chunk))
            if unpacker.finished:
                break
        unpacker.end()
    except UnknownEncoding as unknown:
        raise GenerationFailed(
            f"the image comes in Content-Encoding {unknown}, which was not asked for", retry=False
        ) from None
    except TooLong:
        raise GenerationFailed(
            f"the image is larger than {limit // 1024**2} MiB", retry=False
        ) from None
    except BadGzip:
        raise GenerationFailed("the image is not valid gzip") from None
    except CutShort:
        raise GenerationFailed("the image is not whole gzip") from None
    return body.getvalue()
