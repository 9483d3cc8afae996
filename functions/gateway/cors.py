"""Which pages may read an answer (CORS), as CORS_ORIGINS says.

``*``   any page, without cookies; what an app or an upstream says itself stays
a list  those pages, with credentials: their Origin is echoed. What an upstream says to it is replaced, because the
        browser has had its preflight from us, and takes no ``*`` for a request with credentials
"""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

ANY = frozenset({"*"})
ORIGIN, EXPOSE = b"access-control-allow-origin", b"access-control-expose-headers"
CREDENTIALS, VARY = b"access-control-allow-credentials", b"vary"
TO_ANY_PAGE = ((ORIGIN, b"*"), (EXPOSE, b"*"))


def for_pages(headers: Headers, origin: bytes, allowed: frozenset[str]) -> Headers:
    """An answer's headers, with what the page at ``origin`` ("" for no page) has to be told."""
    if allowed == ANY:
        return added(headers, TO_ANY_PAGE)
    kept = [pair for pair in headers if pair[0].lower() not in {ORIGIN, CREDENTIALS}]
    if not any(_names(value, {b"origin", b"*"}) for key, value in kept if key.lower() == VARY):
        kept.append((VARY, b"Origin"))  # or a cache would hand one page's answer to another
    if origin.decode("latin-1").lower() not in allowed:
        return kept
    # With credentials a star is a header's name like any other.
    named = [pair for pair in kept if pair != (EXPOSE, b"*")]
    names = sorted({key.lower() for key, _ in named if not key.lower().startswith(b"access-")})
    told = [*named, (ORIGIN, origin), (CREDENTIALS, b"true")]
    return added(told, ((EXPOSE, b", ".join(names)),))


def added(headers: Headers, more: Iterable[tuple[bytes, bytes]]) -> Headers:
    """``headers`` and those of ``more`` that are not among them yet."""
    present = {key.lower() for key, _ in headers}
    return [*headers, *(pair for pair in more if pair[0] not in present)]


def _names(value: bytes, wanted: set[bytes]) -> bool:
    return bool(wanted & {name.strip().lower() for name in value.split(b",")})
