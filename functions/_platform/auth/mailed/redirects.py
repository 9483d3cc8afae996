"""Where /verify leads back to (open redirect protection), and what it appends: a session, a code or an error."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from starlette.requests import Request

from functions._platform.auth.errors import AuthError
from functions._platform.auth.mailed.globs import matches
from functions._shared.settings import Settings

MAX_URL = 2000
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
SCRIPTS = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})
"""Schemes that a browser would run or read locally: no pattern allows them."""
_HOST_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")
# Parser differential: browsers drop tabs and line breaks from a URL, and read a backslash as a slash.
_AMBIGUOUS = re.compile(r"[\s\\\x00-\x20\x7f]")
ERRORS = {
    400: "invalid_request",
    401: "unauthorized_client",
    403: "access_denied",
    500: "server_error",
    503: "temporarily_unavailable",
}
"""Status → RFC 6749's ``error``."""


def redirect_of(request: Request, settings: Settings, asked: str | None = None) -> str:
    """The allowed one of: ``asked``, the request's ``redirect_to`` (header or query), its Referer; else SITE_URL."""
    headers, query = request.headers, request.query_params
    named = headers.get("redirect_to") or query.get("redirect_to")
    for url in (asked, named, headers.get("referer")):
        if url and is_allowed(settings, url):
            return url
    return site_url(settings)


def site_url(settings: Settings) -> str:
    """Without the slash that pydantic's URL type appends to a bare host."""
    return str(settings.site_url).removesuffix("/")


def is_allowed(settings: Settings, url: str) -> bool:
    """Whether ``url`` is on the site, on loopback by HTTP, or matches a pattern of ADDITIONAL_REDIRECT_URLS."""
    parts = None if len(url) > MAX_URL or _AMBIGUOUS.search(url) else _split(url)
    if parts is None or parts.scheme in SCRIPTS:
        return False
    host, is_http = parts.hostname or "", parts.scheme in {"http", "https"}
    if _is_on_site(settings, parts, host):
        return True
    if is_http and parts.username is not None:
        return False  # https://site.example@evil.example
    address = _address(host)
    if address is not None:
        # Over HTTP only: intent://127.0.0.1 would hand the session to another app.
        return is_http and address.is_loopback
    if host.isdigit() or (is_http and not _HOST_NAME.fullmatch(host)):
        return False  # a number is an IPv4 address by another spelling
    plain = url.partition("#")[0]
    return any(matches(pattern, plain) for pattern in settings.additional_redirect_urls)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one out of range
    except ValueError:
        return None
    return parts if parts.scheme else None


def _is_on_site(settings: Settings, parts: SplitResult, host: str) -> bool:
    """Scheme, host and port are SITE_URL's; on loopback any port (RFC 8252, section 7.3: native apps)."""
    site = urlsplit(str(settings.site_url))
    return (
        parts.username is None
        and (host, parts.scheme) == (site.hostname, site.scheme)
        and (host in LOOPBACK_HOSTS or _port(parts) == _port(site))
    )


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def with_session(url: str, body: Mapping[str, Any], verified: str) -> str:
    """Implicit flow: the session in the fragment, which browsers send to no server."""
    names = ("access_token", "token_type", "expires_in", "expires_at", "refresh_token")
    values = {name: str(body[name]) for name in names}
    return f"{url}#{_fragment({**values, 'type': verified})}"


def with_code(url: str, code: str) -> str:
    """PKCE: the code in the query, where the app's server reads it."""
    return _with_query(url, {"code": code})


def with_message(url: str, message: str, *, pkce: bool) -> str:
    return _told(url, {"message": message}, pkce=pkce)


def with_error(url: str, error: AuthError, *, pkce: bool) -> str:
    values = {"error_code": error.code, "error_description": str(error)}
    if error.status in ERRORS:
        values["error"] = ERRORS[error.status]
    return _told(url, values, pkce=pkce)


def _told(url: str, values: Mapping[str, str], *, pkce: bool) -> str:
    told = _with_query(url, values) if pkce else url
    return f"{told.partition('#')[0]}#{_fragment(values)}"


def _fragment(values: Mapping[str, str]) -> str:
    """``sb`` marks redirects of Supabase Auth, for clients with other parameters in the fragment."""
    return urlencode(sorted({**values, "sb": ""}.items()))


def _with_query(url: str, values: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **values}
    return parts._replace(query=urlencode(sorted(query.items()))).geturl()


def verify_link(settings: Settings, token: str, verified: str, redirect_to: str) -> str:
    """The link in a mail. ``redirect_to`` is checked again when it is followed."""
    query = (
        f"token={quote(token)}&type={quote(verified)}&redirect_to={quote(redirect_to, safe=':/')}"
    )
    return f"{settings.public_base}/auth/v1/verify?{query}"
