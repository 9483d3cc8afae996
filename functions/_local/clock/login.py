"""Log in as a job's user: authentication by the server is the boundary between users' jobs.

A role switch from the clock's own login is none: a command undoes SET ROLE and SET SESSION AUTHORIZATION by RESET, and
a security definer function of that user has deferred triggers run as the caller at commit, before PostgreSQL 18.
"""

import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow

CONNECT_S = 10

# Confused deputy: whoever owns cron.job may write any user's name into it, and the socket may let the clock in as a
# superuser. So only roles that the clock's login could take on anyway are logged in there.
SOCKETS = """
select setting as folders, current_setting('port')::int as port, pg_postmaster_start_time() as started_at
from pg_settings, pg_roles
where pg_settings.name = 'unix_socket_directories' and rolname = %s and pg_has_role(pg_roles.oid, 'MEMBER')
"""
STARTED = "select pg_catalog.pg_postmaster_start_time()"


async def log_in(
    dsn: str, work: AsyncConnection[DictRow], username: str, database: str
) -> AsyncConnection[Any] | None:
    """A session of ``username`` in ``database``, or None where the server lets nobody in as that user.

    The clock's own login has its password. Others are tried as pg_cron tries them, without one (libpq may find it in
    a passfile, or pg_hba.conf trust the address), and then through the server's UNIX socket. ``work``: a connection
    of ``dsn``.
    """
    given = conninfo_to_dict(dsn)
    is_own = username == given.get("user")
    user = {"user": username, "dbname": database, **({} if is_own else {"password": ""})}
    connection = await _connect(make_conninfo(dsn, **user))
    if connection or is_own or not _is_here(work):
        return connection
    found = await (await work.execute(SOCKETS, (username,))).fetchone()
    if found is None:
        return None
    for folder in _private_folders(found["folders"]):
        connection = await _connect(make_conninfo(host=folder, port=found["port"], **user))
        if connection and await _started_at(connection) == found["started_at"]:
            return connection
        # The same path on this machine may be another server's, where the address is a container's.
        if connection:
            await connection.close()
    return None


async def _started_at(connection: AsyncConnection[Any]) -> object:
    try:
        row = await (await connection.execute(STARTED)).fetchone()
    except psycopg.Error:
        return None
    return row[0] if row else None


async def _connect(dsn: str) -> AsyncConnection[Any] | None:
    try:
        return await AsyncConnection.connect(
            make_conninfo(dsn, application_name="pg_cron", connect_timeout=CONNECT_S),
            autocommit=True,
            prepare_threshold=None,
        )
    except psycopg.Error:
        return None


def _is_here(work: AsyncConnection[DictRow]) -> bool:
    """Whether the clock has reached the server by a loopback address."""
    try:
        return ip_address(work.info.hostaddr).is_loopback
    except ValueError:  # a UNIX socket: it has been tried
        return False


def _private_folders(setting: str) -> list[str]:
    """The folders in which no other account can put a socket of its own, from ``unix_socket_directories``."""
    folders = [Path(name.strip().strip('"')) for name in setting.split(",")]
    return [str(folder) for folder in folders if folder.is_absolute() and _is_private(folder)]


def _is_private(folder: Path) -> bool:
    try:
        return not folder.stat().st_mode & stat.S_IWOTH
    except OSError:
        return False
