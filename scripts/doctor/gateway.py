"""Checks of the gateway's own process, by its settings and its /ready."""

from typing import Any

import httpx

from functions._local.defaults import address_of
from functions._shared.database.schema import OLDER
from functions._shared.settings import Settings
from functions.gateway.loopback import is_loopback
from scripts.doctor.database import APPLY
from scripts.doctor.deployment import Deployment, reason
from scripts.doctor.findings import Finding, ok, warning, wrong

RESTART = "sudo systemctl restart picture-edge   # on a laptop: make up"
LOG = "journalctl -u picture-edge -n 50"


async def keys(deployment: Deployment) -> Finding:
    """Well-known keys, and an anon key that may do everything, are for one machine."""
    settings = deployment.settings
    away = not is_loopback(httpx.URL(settings.public_base).host)
    if settings.uses_local_keys and (away or not is_loopback(settings.edge_host)):
        return wrong(
            "keys that everybody knows: only this machine is served",
            "SUPABASE_JWT_SECRET=$(openssl rand -base64 48)   # and keys signed with it",
        )
    if settings.uses_local_keys:
        return ok("those of every laptop: only this machine is served")
    if settings.allow_anon and away:
        return warning("ALLOW_ANON lets everybody with the public key spend", "ALLOW_ANON=false")
    return ok("of your own")


async def ready(deployment: Deployment) -> Finding:
    where = place(deployment.settings)
    try:
        async with _client(deployment.settings) as client:
            told: Any = (await client.get("/ready")).json()
    except httpx.HTTPError as error:
        return wrong(f"{where} does not answer: {reason(error)}", RESTART)
    except ValueError:
        told = {}
    status = told.get("status") if isinstance(told, dict) else None
    if not isinstance(status, str):
        return wrong(f"{where} is served by something else", "EDGE_PORT=<a free one>")
    if status != "ready":
        return wrong(f"{where} is not ready: {status}", APPLY if status == OLDER else LOG)
    if not told.get("notifications"):
        return warning("ready, but NOTIFY is not heard: new jobs are polled for", LOG)
    return ok(f"{where} is ready")


def _client(settings: Settings) -> httpx.AsyncClient:
    socket = str(settings.edge_socket) if settings.edge_socket else None
    return httpx.AsyncClient(
        base_url="http://localhost"
        if socket
        else address_of(settings.edge_host, settings.edge_port),
        transport=httpx.AsyncHTTPTransport(uds=socket),
        timeout=4,
    )


def place(settings: Settings) -> str:
    return str(settings.edge_socket or address_of(settings.edge_host, settings.edge_port))
