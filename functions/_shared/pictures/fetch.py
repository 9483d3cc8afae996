"""Fetching a picture from an address that somebody else chose, without being made to fetch anything else.

Outputs come from the provider's delivery hosts (OUTPUT_HOSTS) only. Source pictures may be on any public host: its
address is resolved once, refused unless public, and the connection goes to that very address. Redirects are followed by
hand, each hop checked like the first. A file is in memory once; what comes packed is unpacked up to its limit.
"""

import asyncio
import base64
import binascii
import io
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import unquote_to_bytes

import httpx

from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.resources import Resources
from functions._shared.settings import Settings
from functions._shared.web.addresses import Target, as_is, named, parse, pinned, public_https

MAX_OUTPUT_BYTES = 50 * 1024 * 1024
MAX_SOURCE_BYTES = 20 * 1024 * 1024
TIMEOUT_S = 30
MAX_HOPS = 5
REDIRECTS = {301, 302, 303, 307, 308}

Check = Callable[[httpx.URL], Awaitable[Target]]
"""Whether, and how, an address may be asked; raises InvalidRequest or GenerationFailed."""


async def fetch_output(resources: Resources, url: str) -> bytes:
    """The picture a prediction delivered. Raises GenerationFailed; only a failed transfer may be tried again."""
    try:
        if url.startswith("data:"):
            return _decode_data_uri(url, MAX_OUTPUT_BYTES)
        return await _download(resources.http, url, _delivery(resources.settings), MAX_OUTPUT_BYTES)
    except InvalidRequest as refused:  # it is the provider's address, not the caller's
        raise GenerationFailed(f"Output address: {refused}", retry=False) from None


def _delivery(settings: Settings) -> Check:
    provider = httpx.URL(str(settings.replicate_api_url))

    async def check(target: httpx.URL) -> Target:
        delivered = target.scheme == "https" and any(
            f".{target.host}".endswith(f".{host}") for host in settings.output_hosts
        )
        same = ("scheme", "host", "port")
        if delivered or all(getattr(target, part) == getattr(provider, part) for part in same):
            return as_is(target)
        raise GenerationFailed(
            f"Output address is not on a host of the provider: {target.host}", retry=False
        )

    return check


async def fetch_source(resources: Resources, url: str) -> bytes:
    """The user's source picture. Raises InvalidRequest for an address we will not fetch, else GenerationFailed."""
    if url.startswith("data:"):
        return _decode_data_uri(url, MAX_SOURCE_BYTES)

    async def check(target: httpx.URL) -> Target:
        if _is_own_storage(target, resources.settings):
            return as_is(target)
        return await pinned(public_https(target))

    try:
        return await _download(resources.http, url, check, MAX_SOURCE_BYTES)
    except InvalidRequest as refused:
        raise named("source_image_url", refused) from None


def check_source_address(url: str, settings: Settings) -> None:
    """Refuse at once what ``fetch_source`` would refuse without asking anybody. Raises InvalidRequest."""
    if url.startswith("data:"):
        return
    try:
        target = parse(url)
        if not _is_own_storage(target, settings):
            public_https(target)
    except InvalidRequest as refused:
        raise named("source_image_url", refused) from None


def _is_own_storage(target: httpx.URL, settings: Settings) -> bool:
    return str(target).startswith(f"{settings.public_base}/storage/v1/object/public/")


async def _download(http: httpx.AsyncClient, url: str, check: Check, limit: int) -> bytes:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            target = parse(url)
            for _ in range(MAX_HOPS + 1):
                hop = await check(target)
                async with http.stream(
                    "GET",
                    hop.url,
                    # A picture is packed already. A few KiB of gzip or brotli may unfold to a thousand times as much.
                    headers={"Accept-Encoding": "identity", **hop.headers},
                    extensions=hop.extensions,
                ) as response:
                    if response.status_code not in REDIRECTS:
                        return await _read(response, limit)
                    target = parse(response.headers.get("location", ""), relative_to=target)
    except UnicodeError:  # httpx reads each Location, also those that it does not follow, and idna cannot read this one
        raise GenerationFailed("the image redirects to what is no address", retry=False) from None
    except (httpx.HTTPError, TimeoutError) as error:
        raise GenerationFailed(f"the image could not be fetched ({type(error).__name__})") from None
    raise GenerationFailed(f"the image is more than {MAX_HOPS} redirects away", retry=False)


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body, as long as was promised: one cut short is an httpx.HTTPError."""
    if response.status_code != 200:
        gone = response.status_code in {401, 403, 404, 410}
        raise GenerationFailed(f"the image answered {response.status_code}", retry=not gone)
    body = io.BytesIO()  # its getvalue() hands out the buffer itself, not a copy
    async for chunk in _unpacked(response, limit + 1):
        body.write(chunk)
        if body.tell() > limit:
            raise GenerationFailed(f"the image is larger than {limit // 1024**2} MiB", retry=False)
    return body.getvalue()


async def _unpacked(response: httpx.Response, most: int) -> AsyncIterator[bytes]:
    """The body's pieces; gzip, which some hosts send unasked, is undone up to ``most`` bytes."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        async for chunk in response.aiter_bytes():
            yield chunk
        return
    if encoding != "gzip":
        raise GenerationFailed(
            f"the image comes in Content-Encoding {encoding[:20]}, which was not asked for",
            retry=False,
        )
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    async for chunk in response.aiter_raw():
        if unzip.eof:
            break
        try:
            piece = unzip.decompress(chunk, most)
        except zlib.error:
            raise GenerationFailed("the image is not valid gzip") from None
        most -= len(piece)
        yield piece
    if not unzip.eof:
        raise GenerationFailed("the image is not whole gzip")


def _decode_data_uri(uri: str, limit: int) -> bytes:
    head, comma, data = uri.partition(",")
    packed = head.endswith(";base64")
    try:
        if packed and len(data) > (limit + 2) // 3 * 4:
            decoded = b""  # what it would come to is told by its length
        else:
            decoded = base64.b64decode(data, validate=True) if packed else unquote_to_bytes(data)
    except (binascii.Error, ValueError):
        decoded = b""
    if not comma or not decoded or len(decoded) > limit:
        raise InvalidRequest(f"The image's data URI must hold 1 byte to {limit // 1024**2} MiB")
    return decoded
