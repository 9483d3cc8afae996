"""Well-known local keys: while they are in use, only this machine is served.

Listening on 127.0.0.1 does not ensure that: a proxy, a tunnel or a forwarded port on this machine relays requests of
strangers, and the developer's own browser those of any open page (DNS rebinding, CSRF).
"""

from collections.abc import Container

from starlette.types import Scope

from functions._shared.errors import Forbidden
from functions._shared.settings import Settings
from functions.gateway.functions_host import is_functions_host
from functions.gateway.loopback import is_local_origin, is_loopback, names_this_machine
from functions.gateway.proxies import FOR, HOST, MAX_PROXIES, is_unix, parse_address, values_of

OWN_KEYS = "set SUPABASE_JWT_SECRET and keys of your own"
NETWORK = f"The well-known local keys are in use, and serve this machine only: {OWN_KEYS} to serve a network"
PROXY = f"The well-known local keys are in use, and this request came through a proxy for somebody else: {OWN_KEYS}"
NAME = (
    "The well-known local keys are in use, so the address must be http://127.0.0.1, http://localhost or FUNCTIONS_HOST:"
    f" call one of them, or {OWN_KEYS}"
)
ORIGIN = (
    "The well-known local keys are in use, so a page that is not on localhost may not spend your REPLICATE_API_TOKEN: "
    f"serve it on localhost, or {OWN_KEYS}"
)
REAL_IP = b"x-real-ip"


class LoopbackOnly:
    """Refuses requests from elsewhere, and foreign pages where a request spends real money."""

    def __init__(self, settings: Settings) -> None:
        self._functions_host = settings.functions_host
        self._pays = bool(settings.replicate_api_token) and not is_loopback(
            settings.replicate_api_url.host or ""
        )

    def __call__(self, scope: Scope, names: Container[bytes]) -> None:
        """Raises Forbidden, in words for the developer whose machine it is. ``names``: of the request's headers."""
        if not _arrived_here(scope):
            raise Forbidden(NETWORK)
        if (FOR in names or REAL_IP in names) and not _came_from_here(scope):
            raise Forbidden(PROXY)
        if not _called_by_our_name(scope, self._functions_host, names):
            raise Forbidden(NAME)
        if (
            self._pays
            and b"origin" in names
            and not all(map(is_local_origin, _texts(scope, b"origin")))
        ):
            raise Forbidden(ORIGIN)


def _arrived_here(scope: Scope) -> bool:
    return is_unix(scope) or is_loopback(scope["server"][0])


def _came_from_here(scope: Scope) -> bool:
    """Whether every address in the forwarding headers is loopback: a development server's proxy, with its browser."""
    named = b",".join(values_of(scope, FOR) + values_of(scope, REAL_IP)).split(b",")
    addresses = [parse_address(one) for one in named[:MAX_PROXIES] if one.strip()]
    return len(named) <= MAX_PROXIES and all(
        address is not None and address.is_loopback for address in addresses
    )


def _called_by_our_name(scope: Scope, functions_host: str | None, names: Container[bytes]) -> bool:
    """Whether Host and X-Forwarded-Host mean this machine (DNS rebinding). HTTP/1.0 requires no Host."""
    hosts = _texts(scope, b"host")
    if not hosts and scope["http_version"] != "1.0":
        return False
    if HOST in names:
        hosts += [host.strip() for line in _texts(scope, HOST) for host in line.split(",")]
    return all(
        names_this_machine(host) or is_functions_host(host, functions_host) for host in hosts
    )


def _texts(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for value in values_of(scope, name)]
