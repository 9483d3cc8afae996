"""Path traversal and path confusion: refuse a path that the gateway and an upstream could read as two different ones.

The raw path is forwarded byte for byte. A proxy or service behind may decode percent-encoding, any number of times, and
then resolve dot segments; the route chosen here must be right for each of these readings.
"""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from functions._shared.errors import InvalidRequest, NotFound

DECODINGS = 3
"""Levels of percent-encoding that are checked (double encoding): one each for a proxy, an API gateway, the service."""

DOT_SEGMENT = re.compile(rb"(?:^|[/\\])\s*\.\.?\s*(?:$|[/\\;?#\0])")
"""A dot segment by any reading: backslash as slash (WHATWG URLs, Windows), ``;`` before parameters (Java), NUL (C)."""

PLAIN = re.compile(rb"[A-Za-z0-9_/-]*")
"""Without dots, backslashes and percent-encoding: no dot segment by any reading."""

UNSENDABLE = re.compile(rb"[^\x21-\x7e]")
"""Bytes that RFC 9112 allows in no request line: clients must percent-encode them."""


def raw_path_of(scope: Scope) -> bytes:
    """The path as the client sent it; the decoded one where the server gives no raw_path (optional in ASGI)."""
    return bytes(scope.get("raw_path") or scope["path"].encode())


def check_path(scope: Scope) -> None:
    """Raises InvalidRequest, NotFound. The path must be the one that is routed and forwarded (``FunctionsHost``)."""
    raw = raw_path_of(scope)
    query: bytes = scope["query_string"]
    if PLAIN.fullmatch(raw) and not query:
        return  # nearly all paths: nothing in them has two readings
    if UNSENDABLE.search(raw + query) or b"#" in raw:
        raise InvalidRequest("The address has characters that must be percent-encoded")
    if has_dot_segments(raw):
        raise InvalidRequest("The path must not have . or .. segments")
    if "\n" in scope["path"]:
        raise NotFound("Not found")  # no route has one
    # Routes are chosen by the decoded path: /functions%2fv1/x would be routed as one path and forwarded as another.
    routed_by = raw.removeprefix(scope.get("root_path", "").encode()).split(b"/", 3)[:3]
    if any(b"%" in segment for segment in routed_by):
        raise NotFound("Not found")


def has_dot_segments(path: bytes) -> bool:
    """Whether any segment is ``.`` or ``..``, as it is or percent-decoded up to DECODINGS times.

    Double encoding (``%252e%252e``) counts: a service that decodes twice would climb, and no object has such a name.
    """
    for _ in range(DECODINGS + 1):
        if DOT_SEGMENT.search(path):
            return True
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return False
        path = decoded
    return False
