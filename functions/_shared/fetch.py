"""Fetching a picture from an address that somebody else chose, without being made to fetch anything else.

Outputs come from the provider's delivery hosts (OUTPUT_HOSTS) only. Source pictures may be on any public host: its
address is resolved once, refused unless public, and the connection goes to that very address. Redirects are followed by
hand, each hop checked like the first. A file is in memory once.
"""

import asyncio
import base64
import binascii
import io
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_to_bytes

import httpx

from functions._shared.addresses import Target, as_is, parse, pinned
from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.resources import Resources

MAX_OUTPUT_BYTES = 50 * 1024 * 1024
MAX_SOURCE_BYTES = 20 * 1024 * 1024
TIMEOUT_S = 30
MAX_HOPS = 5
REDIRECTS = {301, 302, 303, 307, 308}

Check = Callable[[httpx.URL], Awaitable[Target]]
"""Whether, and how, an address may be asked; raises InvalidRequest or GenerationFailed."""


async def fetch_output(resources: Resources, url: str) -> bytes:
    """The picture a prediction delivered. Raises GenerationFailed; only a failed transfer may be tried again."""
    if url.startswith("data:"):
        return _decode_data_uri(url, MAX_OUTPUT_BYTES)
    provider = httpx.URL(str(resources.settings.replicate_api_url))

    async def check(target: httpx.URL) -> Target:
        delivered = target.scheme == "https" and any(
            f".{target.host}".endswith(f".{host}") for host in resources.settings.output_hosts
        )
        same = ("scheme", "host", "port")
        if delivered or all(getattr(target, part) == getattr(provider, part) for part in same):
            return as_is(target)
        raise GenerationFailed(
            f"Output address is not on a host of the provider: {target.host}", retry=False
        )

    return await _download(resources.http, url, check, MAX_OUTPUT_BYTES)


async def fetch_source(resources: Resources, url: str) -> bytes:
    """The user's source picture. Raises InvalidRequest for an address we will not fetch, else GenerationFailed."""
    if url.startswith("data:"):
        return _decode_data_uri(url, MAX_SOURCE_BYTES)
    own_storage = f"{resources.settings.public_base}/storage/v1/object/public/"

    async def check(target: httpx.URL) -> Target:
        if str(target).startswith(own_storage):
            return as_is(target)
        if target.scheme != "https":
            raise InvalidRequest("The address: must be an https address")
        return await pinned(target)

    try:
        return await _download(resources.http, url, check, MAX_SOURCE_BYTES)
    except InvalidRequest as refused:
        reason = str(refused).removeprefix("The address").lstrip(": ")
        raise InvalidRequest(f"source_image_url: {reason}") from None


async def _download(http: httpx.AsyncClient, url: str, check: Check, limit: int) -> bytes:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            target = parse(url)
            for _ in range(MAX_HOPS + 1):
                hop = await check(target)
                async with http.stream(
                    "GET", hop.url, headers=hop.headers, extensions=hop.extensions
                ) as response:
                    if response.status_code not in REDIRECTS:
                        return await _read(response, limit)
                    target = parse(str(target.join(response.headers.get("location", ""))))
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise GenerationFailed(f"the image could not be fetched ({type(error).__name__})") from None
    raise GenerationFailed(f"the image is more than {MAX_HOPS} redirects away", retry=False)


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body, as long as was promised: one cut short is an httpx.HTTPError."""
    if response.status_code != 200:
        gone = response.status_code in {401, 403, 404, 410}
        raise GenerationFailed(f"the image answered {response.status_code}", retry=not gone)
    body = io.BytesIO()  # its getvalue() hands out the buffer itself, not a copy
    async for chunk in response.aiter_bytes():
        body.write(chunk)
        if body.tell() > limit:
            raise GenerationFailed(f"the image is larger than {limit // 1024**2} MiB", retry=False)
    return body.getvalue()


def _decode_data_uri(uri: str, limit: int) -> bytes:
    head, comma, data = uri.partition(",")
    try:
        decoded = (
            base64.b64decode(data, validate=True)
            if head.endswith(";base64")
            else unquote_to_bytes(data)
        )
    except (binascii.Error, ValueError):
        decoded = b""
    if not comma or not decoded or len(decoded) > limit:
        raise InvalidRequest(f"The image's data URI must hold 1 byte to {limit // 1024**2} MiB")
    return decoded
