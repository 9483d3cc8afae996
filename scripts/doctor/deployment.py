"""The deployment under examination: its settings, the gateway's own resources, and what its database's server says."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property

import aiohttp
import httpx
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from functions._shared.database.session import is_pooled, is_read_only, unfit_encoding
from functions._shared.resources import Resources, open_resources
from functions._shared.settings import Settings
from functions.gateway.loopback import is_loopback

CONNECT_S = 4.0
"""Less than a check has, so that the check can say why."""


@dataclass(frozen=True)
class Server:
    """What a session of the gateway's login finds out at connect."""

    version: int
    """As PostgreSQL counts: 150004 is 15.4."""
    login: str
    """``current_user``: the role that the login acts as."""
    is_here: bool
    """Whether it was reached by a loopback address or a UNIX socket."""
    unfit: str | None
    """What is wrong with the encoding, in words."""
    read_only: bool
    pooled: bool


class Deployment:
    """``resources`` are opened as the gateway opens them, so that a check asks as the gateway would."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    @property
    def settings(self) -> Settings:
        return self.resources.settings

    @cached_property
    def server(self) -> "asyncio.Task[Server]":
        """Asked once, by a connection outside the pool: the pool's time-out hides the server's reason.

        Fails with psycopg.Error, TimeoutError.
        """
        url = self.settings.supabase_db_url.get_secret_value()
        return asyncio.create_task(server_of(url))


async def server_of(url: str) -> Server:
    """Raises psycopg.Error, and TimeoutError after CONNECT_S."""
    conninfo = make_conninfo(
        url, connect_timeout=max(2, int(CONNECT_S)), application_name="picture-edge doctor"
    )
    # connect_timeout is libpq's, for each address of a name; this bounds the whole.
    async with asyncio.timeout(CONNECT_S):
        connection = await AsyncConnection.connect(
            conninfo, autocommit=True, prepare_threshold=None
        )
        try:
            return await _ask(connection)
        finally:
            await connection.close()


async def _ask(connection: AsyncConnection[tuple[object, ...]]) -> Server:
    cursor = await connection.execute("select current_user")
    row = await cursor.fetchone()
    assert row
    address = connection.info.hostaddr
    return Server(
        version=connection.info.server_version,
        login=str(row[0]),
        is_here=not address or is_loopback(address),
        unfit=unfit_encoding(connection),
        read_only=is_read_only(connection),
        pooled=await is_pooled(connection),
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Deployment]:
    async with open_resources(settings) as resources:
        deployment = Deployment(resources)
        try:
            yield deployment
        finally:
            await asyncio.gather(deployment.server, return_exceptions=True)


def reason(error: Exception) -> str:
    """The error's own words, in one line. A database's DETAIL and CONTEXT may quote rows, so they are left out."""
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    if isinstance(error, httpx.TransportError):
        told = _unconnected(error.__context__)
    words = " ".join((told or str(error)).split())
    return words[:300] or type(error).__name__


def _unconnected(cause: BaseException | None) -> str | None:
    """The system's word on a connection that was not made. The HTTP client names the class only, for the URL's sake."""
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return str(cause.certificate_error)
    if not isinstance(cause, aiohttp.ClientConnectorError):
        return None
    failed = cause.os_error
    # asyncio's own text of these is "Connect call failed".
    if isinstance(failed, ConnectionError) and failed.errno:
        return os.strerror(failed.errno)
    return failed.strerror or str(failed)
