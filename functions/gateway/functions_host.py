"""FUNCTIONS_HOST: virtual hosting of the functions, at the root of a host name of their own."""

from collections.abc import Container

from starlette.types import Scope

from functions.gateway.paths import raw_path_of
from functions.gateway.proxies import values_of
from functions.gateway.routing import PREFIX


class FunctionsHost:
    """Puts PREFIX before the paths of requests to ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, scope: Scope, _: Container[bytes]) -> None:
        hosts = values_of(scope, b"host")
        if hosts and is_functions_host(hosts[-1].decode("latin-1"), self._name):
            scope["path"], scope["raw_path"] = (
                f"{PREFIX}{scope['path']}",
                PREFIX.encode() + raw_path_of(scope),
            )


def is_functions_host(authority: str, functions_host: str | None) -> bool:
    """Whether a Host header names FUNCTIONS_HOST; its port does not matter."""
    name = authority.partition(":")[0].removesuffix(".")
    return functions_host is not None and name.lower() == functions_host.lower()
