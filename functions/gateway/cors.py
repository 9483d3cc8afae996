"""CORS headers: which pages (origins) may read a response, by CORS_ORIGINS.

``*``   any page, without credentials; headers that an app or an upstream has set stay
a list  those pages, with credentials: their Origin is echoed. An upstream's own headers are replaced: the browser had
        its preflight from the gateway, and accepts no ``*`` for a request with credentials
"""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

ANY = frozenset({"*"})
ORIGIN, EXPOSE = b"access-control-allow-origin", b"access-control-expose-headers"
CREDENTIALS, VARY = b"access-control-allow-credentials", b"vary"
FROM_CACHE = frozenset({b"content-length", b"content-range"})
"""Headers of a 206 that the browser's cache makes of a stored 200, whose exposed headers count then."""
TO_ANY_PAGE = ((ORIGIN, b"*"), (EXPOSE, b"*"))


def for_pages(
    headers: Iterable[tuple[bytes, bytes]],
    more: Iterable[tuple[bytes, bytes]],
    origin: bytes,
    allowed: frozenset[str],
) -> Headers:
    """A response's headers, with ``more`` where absent, for the page at ``origin``; "" for a client that is no page."""
    if allowed == ANY:
        return added(headers, (*more, *TO_ANY_PAGE))
    headers = added(headers, more)
    kept = [pair for pair in headers if pair[0].lower() not in {ORIGIN, CREDENTIALS}]
    if not any(_names(value, {b"origin", b"*"}) for key, value in kept if key.lower() == VARY):
        kept.append((VARY, b"Origin"))  # a cache would serve one page's headers to another
    if origin.decode("latin-1").lower() not in allowed:
        return kept
    # With credentials "*" is no wildcard but a header's name.
    named = [pair for pair in kept if pair != (EXPOSE, b"*")]
    names = {key.lower() for key, _ in named if not key.lower().startswith(b"access-")}
    allowing = [*named, (ORIGIN, origin), (CREDENTIALS, b"true")]
    return added(allowing, ((EXPOSE, b", ".join(sorted(names | FROM_CACHE))),))


def added(headers: Iterable[tuple[bytes, bytes]], more: Iterable[tuple[bytes, bytes]]) -> Headers:
    """``headers``, and of ``more`` those whose names are absent from them."""
    present = {key.lower() for key, _ in headers}
    return [*headers, *(pair for pair in more if pair[0] not in present)]


def _names(value: bytes, wanted: set[bytes]) -> bool:
    return bool(wanted & {name.strip().lower() for name in value.split(b",")})
