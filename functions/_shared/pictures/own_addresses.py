"""Addresses of objects in our own Storage, in every form that clients have them: exempt from SSRF protection.

Exempt are these paths of the configured hosts only. They are requested without credentials: a public object needs none,
a signed address carries its token, which Storage verifies. An address that needs a caller's session is refused by
name.
"""

from collections.abc import Iterable
from urllib.parse import unquote

import httpx

from functions._shared.errors import InvalidRequest

READABLE = (
    "/storage/v1/object/public/",
    "/storage/v1/object/sign/",
    "/storage/v1/render/image/public/",
    "/storage/v1/render/image/sign/",
)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"http": 80, "https": 443}


class OwnAddresses:
    """``bases``: base URLs of Storage, as clients and as this process reach it."""

    def __init__(self, bases: Iterable[str]) -> None:
        self._bases = [httpx.URL(base) for base in dict.fromkeys(bases)]

    def find(self, url: httpx.URL) -> httpx.URL | None:
        """``url`` at the configured spelling of its host; None where it is no object of ours.

        Raises InvalidRequest for an object that only a signed-in caller may read.
        """
        base = next((base for base in self._bases if _same_host(url, base)), None)
        if base is None:
            return None
        path = url.raw_path.partition(b"?")[0].decode("ascii")
        if not path.startswith(below := base.path.rstrip("/")):
            return None
        path = path.removeprefix(below)
        # Path traversal: proxies in front of Storage decode a path before they resolve its dots.
        if {".", ".."} & {*unquote(path).replace("\\", "/").split("/")}:
            return None
        if path.startswith(READABLE):
            return url.copy_with(scheme=base.scheme, host=base.host, port=base.port)
        if path.startswith(("/storage/v1/object/", "/storage/v1/render/image/")):
            raise InvalidRequest(
                "The address: needs a signed-in caller: send a signed one (createSignedUrl)"
            )
        return None


def _same_host(url: httpx.URL, base: httpx.URL) -> bool:
    """Scheme, host and port are equal; the names of the loopback interface count as one."""
    return (
        url.scheme == base.scheme
        and (url.port or _PORTS.get(url.scheme)) == (base.port or _PORTS.get(base.scheme))
        and (url.host == base.host or {url.host, base.host} <= LOOPBACK)
    )
