"""Fetching a picture from an address that somebody else chose, without being made to fetch anything else.

Outputs come from the provider's delivery hosts only. Source images may be on any public host: its address is
resolved once, refused unless public, and the connection goes to that very address. No redirects are followed.
"""

import asyncio
import base64
import binascii
import ipaddress
import socket
from urllib.parse import unquote_to_bytes

import httpx

from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.resources import Resources

MAX_OUTPUT_BYTES = 50 * 1024 * 1024
MAX_SOURCE_BYTES = 20 * 1024 * 1024
TIMEOUT_S = 30
DELIVERY_HOST = "replicate.delivery"


async def fetch_output(resources: Resources, url: str) -> bytes:
    """The picture a prediction delivered. Raises GenerationFailed; only a failed transfer may be tried again."""
    if url.startswith("data:"):
        return _decode_data_uri(url, MAX_OUTPUT_BYTES)
    target = _parse(url)
    provider = httpx.URL(str(resources.settings.replicate_api_url))
    delivered = target.scheme == "https" and f".{target.host}".endswith(f".{DELIVERY_HOST}")
    if not delivered and (target.scheme, target.host, target.port) != (
        provider.scheme,
        provider.host,
        provider.port,
    ):
        raise GenerationFailed(
            f"Output address is not on a host of the provider: {target.host}", retry=False
        )
    return await _download(resources.http, target, MAX_OUTPUT_BYTES)


async def fetch_source(resources: Resources, url: str) -> bytes:
    """The user's source image. Raises InvalidRequest for an address we will not fetch, else GenerationFailed."""
    if url.startswith("data:"):
        return _decode_data_uri(url, MAX_SOURCE_BYTES)
    target = _parse(url)
    if url.startswith(f"{resources.settings.public_base}/storage/v1/object/public/"):
        return await _download(resources.http, target, MAX_SOURCE_BYTES)
    if target.scheme != "https":
        raise InvalidRequest("source_image_url: must be an https address")
    address = await _public_address(target.host, target.port or 443)
    pinned = target.copy_with(host=address)
    host = target.netloc.decode("ascii")
    return await _download(
        resources.http, pinned, MAX_SOURCE_BYTES, host=host, server_name=target.host
    )


async def _download(
    http: httpx.AsyncClient,
    url: httpx.URL,
    limit: int,
    *,
    host: str | None = None,
    server_name: str | None = None,
) -> bytes:
    headers = {"Host": host} if host else {}
    extensions = {"sni_hostname": server_name} if server_name else {}
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            http.stream("GET", url, headers=headers, extensions=extensions) as response,
        ):
            if response.status_code != 200:
                gone = response.status_code in {401, 403, 404, 410}
                raise GenerationFailed(f"the image answered {response.status_code}", retry=not gone)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    raise GenerationFailed(
                        f"the image is larger than {limit // 1024**2} MiB", retry=False
                    )
    except (httpx.HTTPError, TimeoutError) as error:
        raise GenerationFailed(f"the image could not be fetched ({type(error).__name__})") from None
    return bytes(body)


async def _public_address(host: str, port: int) -> str:
    """One address of ``host``, all of which must be public: a name that mixes both is a trap."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InvalidRequest(f"source_image_url: unknown host {host}") from None
    addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
    if not addresses or not all(
        address.is_global and not address.is_multicast for address in addresses
    ):
        raise InvalidRequest("source_image_url: the host is not on the public internet")
    return str(addresses[0])


def _parse(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        raise InvalidRequest("The image's address is not a valid URL") from None
    if target.scheme not in {"http", "https"} or not target.host or target.userinfo:
        raise InvalidRequest("The image's address must be a plain http(s) URL")
    return target


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
