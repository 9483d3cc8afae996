"""Well-known local keys: while they are in use, only this machine is served.

Listening on 127.0.0.1 does not ensure that: a proxy, a tunnel or a forwarded port on this machine relays requests of
strangers, and the developer's own browser those of any open page (DNS rebinding, CSRF).
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from functions._shared.errors import Forbidden, error_response
from functions._shared.settings import Settings
from functions.gateway.loopback import is_local_origin, is_loopback, names_this_machine
from functions.gateway.proxies import FOR, MAX_PROXIES, is_unix, parse_address, values_of

OWN_KEYS = "set SUPABASE_JWT_SECRET and keys of your own"
NETWORK = f"The well-known local keys are in use, and serve this machine only: {OWN_KEYS} to serve a network"
PROXY = f"The well-known local keys are in use, and this request came through a proxy for somebody else: {OWN_KEYS}"
HOST = (
    "The well-known local keys are in use, so the address must be http://127.0.0.1, http://localhost or FUNCTIONS_HOST:"
    f" call one of them, or {OWN_KEYS}"
)
ORIGIN = (
    "The well-known local keys are in use, so a page that is not on localhost may not spend your REPLICATE_API_TOKEN: "
    f"serve it on localhost, or {OWN_KEYS}"
)


class LoopbackOnly:
    """ASGI middleware: 403 for requests from elsewhere, and for foreign pages where a request spends real money."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        why = None if scope["type"] == "lifespan" else _refusal(scope)
        # Also rejects a websocket handshake (ASGI extension websocket.http.response).
        app = self.app if why is None else error_response(Forbidden(why))
        await app(scope, receive, send)


def _refusal(scope: Scope) -> str | None:
    """Why the request is refused, in words for the developer whose machine it is; None where it is served."""
    settings: Settings = scope["state"]["resources"].settings
    if not settings.uses_local_keys:
        return None
    if not _arrived_here(scope):
        return NETWORK
    if not _came_from_here(scope):
        return PROXY
    if not _called_by_our_name(scope, settings.functions_host):
        return HOST
    pays = settings.replicate_api_token and not is_loopback(settings.replicate_api_url.host or "")
    if pays and not all(map(is_local_origin, _texts(scope, b"origin"))):
        return ORIGIN
    return None


def _arrived_here(scope: Scope) -> bool:
    return is_unix(scope) or is_loopback(scope["server"][0])


def _came_from_here(scope: Scope) -> bool:
    """Whether every address in the forwarding headers is loopback: a development server's proxy, with its browser."""
    named = b",".join(values_of(scope, FOR) + values_of(scope, b"x-real-ip")).split(b",")
    addresses = [parse_address(one) for one in named[:MAX_PROXIES] if one.strip()]
    return len(named) <= MAX_PROXIES and all(
        address is not None and address.is_loopback for address in addresses
    )


def _called_by_our_name(scope: Scope, functions_host: str | None) -> bool:
    """Whether Host and X-Forwarded-Host mean this machine (DNS rebinding). HTTP/1.0 requires no Host."""
    hosts = _texts(scope, b"host")
    if not hosts and scope["http_version"] != "1.0":
        return False
    forwarded = [
        host.strip() for line in _texts(scope, b"x-forwarded-host") for host in line.split(",")
    ]
    return all(
        names_this_machine(host) or is_functions_host(host, functions_host)
        for host in hosts + forwarded
    )


def is_functions_host(authority: str, functions_host: str | None) -> bool:
    """Whether a Host header names FUNCTIONS_HOST; its port does not matter."""
    name = authority.partition(":")[0].removesuffix(".")
    return functions_host is not None and name.lower() == functions_host.lower()


def _texts(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for value in values_of(scope, name)]
