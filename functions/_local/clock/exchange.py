"""One HTTP exchange as libcurl has it for pg_net: headers, redirects, credentials, the texts of its errors."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from psycopg.types.json import Jsonb

USER_AGENT = "pg_net/0.20.4"
FORM = b"application/x-www-form-urlencoded"
LONGEST_MS = 600_000
MAX_REDIRECTS = 30
"""libcurl's default from 8.3 on; earlier versions follow a loop until the time-out."""
OF_THE_ORIGIN = (b"authorization", b"cookie", b"host")
FRAMING = (b"content-length", b"transfer-encoding")
"""Request smuggling: a length that is not the body's makes the rest of it a request of its own."""

Header = tuple[bytes, bytes]


@dataclass
class StoredResponse:
    """A row of net._http_response without id and time."""

    status_code: int | None = None
    content_type: str | None = None
    headers: Jsonb | None = None
    content: str | None = None
    timed_out: bool = False
    error_msg: str | None = None


def new_client() -> httpx.AsyncClient:
    """A client without headers, cookies or redirects of its own: each request carries what its row says."""
    limits = httpx.Limits(max_connections=None)
    # The time-out is an upper bound: each request has its own.
    http = httpx.AsyncClient(limits=limits, timeout=LONGEST_MS / 1000)
    http.headers.clear()
    # Session mix-up: a cookie jar would send one caller's session with the requests of all others.
    http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return http


async def send(http: httpx.AsyncClient, row: dict[str, Any]) -> StoredResponse:
    """Send a row of net.http_request_queue and read the whole response; failures become its error_msg.

    ``row["headers"]``: pairs of name and value, both text.
    """
    limit_ms = row["timeout_milliseconds"]
    if not 1 <= limit_ms <= LONGEST_MS:
        return StoredResponse(error_msg=f"timeout_milliseconds must be between 1 and {LONGEST_MS}")
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit_ms / 1000):
            first, last = await _follow(http, row)
    except TimeoutError:
        taken_ms = (time.monotonic() - began) * 1000
        text = f"Timeout of {limit_ms} ms reached. Total time: {taken_ms:.6f} ms"
        return StoredResponse(timed_out=True, error_msg=text)
    except httpx.HTTPError as error:
        return StoredResponse(error_msg=_curl_message(error))
    except (httpx.InvalidURL, UnicodeError) as error:
        return StoredResponse(error_msg=str(error))
    content = last.content.split(b"\0")[0].decode(last.encoding or "utf-8", errors="replace")
    return StoredResponse(
        status_code=last.status_code,
        content_type=last.headers.get("content-type"),
        headers=Jsonb(_named_as_sent(first.headers)),
        content=content or None,
    )


async def _follow(
    http: httpx.AsyncClient, row: dict[str, Any]
) -> tuple[httpx.Response, httpx.Response]:
    """Send the request and follow redirects; returns the first and the last response. Raises as httpx does."""
    method, body = row["method"].upper(), row["body"]
    given = [(name.encode(), value.strip(" \t").encode()) for name, value in row["headers"]]
    start = url = httpx.URL(row["url"])
    first: httpx.Response | None = None
    for _ in range(1 + MAX_REDIRECTS):
        is_home = _origin(url) == _origin(start)
        if is_home and not url.userinfo:
            url = url.copy_with(userinfo=start.userinfo)
        headers = _headers(given, method == "POST" or body is not None, is_home)
        response = await http.send(httpx.Request(method, url, headers=headers, content=body))
        first = first or response
        if response.next_request is None:
            return first, response
        url = response.next_request.url
        if response.status_code in (301, 302, 303):
            # pg_net sets a DELETE as libcurl's custom method, which no redirect changes.
            method, body = "DELETE" if method == "DELETE" else "GET", None
    raise httpx.TooManyRedirects("Number of redirects hit maximum amount")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _headers(given: Sequence[Header], has_form: bool, is_home: bool) -> list[Header]:
    """The headers of one hop: a given one replaces libcurl's own of that name, an empty one removes it.

    Given headers about the body's length are left out; away from the origin of the first request, credentials and
    Host as well.
    """
    left_out = FRAMING if is_home else FRAMING + OF_THE_ORIGIN
    names = {name.lower() for name, _ in given}
    headers = [] if b"accept" in names else [(b"Accept", b"*/*")]
    headers += [(name, value) for name, value in given if value and name.lower() not in left_out]
    if has_form and b"content-type" not in names:
        headers.append((b"Content-Type", FORM))
    return [*headers, (b"User-Agent", USER_AGENT.encode())]


def _named_as_sent(headers: httpx.Headers) -> dict[str, str]:
    """The names in the case that the server gave them; of a repeated name the last value."""
    return {
        name.decode(headers.encoding): value.decode(headers.encoding) for name, value in headers.raw
    }


def _curl_message(error: httpx.HTTPError) -> str:
    """The text that libcurl, and so pg_net, gives for this failure."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return "Unsupported protocol"
    if isinstance(error, httpx.LocalProtocolError):
        return "Illegal request header"  # the error's own text has the value, such as a key
    if isinstance(error, httpx.ConnectError):
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, socket.gaierror):
                return "Couldn't resolve host name"
            cause = cause.__cause__ or cause.__context__
        return "Couldn't connect to server"
    if isinstance(error, httpx.RemoteProtocolError) and "without sending" in str(error):
        return "Server returned nothing (no headers, no data)"
    if isinstance(error, httpx.RemoteProtocolError) and "incomplete" in str(error):
        return "Transferred a partial file"
    return str(error) or type(error).__name__
