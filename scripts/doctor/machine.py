"""Checks of the machine: its clock against the others', and room on its disks."""

import asyncio
import errno
import os
import tempfile
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time as now

import httpx

from scripts.doctor.deployment import Deployment, reason
from scripts.doctor.findings import Finding, not_asked, ok, warning, wrong

SURPRISING_S, LEEWAY_S = 5.0, 30.0
"""Clock skew: the latter is what tokens' exp and nbf are given."""
SET_CLOCK = "sudo timedatectl set-ntp true"
LOW = 0.1
"""Share of a file system that is free; one with more than LOW_BYTES is never low, however large it is."""
LOW_BYTES, FULL_BYTES = 2 << 30, 100 << 20
FEW_FILES = 0.01
"""Share of inodes that are free."""


async def against_database(deployment: Deployment) -> Finding:
    async with deployment.resources.pool.connection() as connection:
        began = now()
        cursor = await connection.execute(
            "select extract(epoch from clock_timestamp())::float8 as at"
        )
        [row] = await cursor.fetchall()
        ended = now()
    return _skew(row["at"], began, ended, "the database's")


async def against_provider(deployment: Deployment) -> Finding:
    """By the Date header, which any answer has; without the token."""
    began = now()
    try:
        answer = await deployment.resources.http.get(str(deployment.settings.replicate_api_url))
    except httpx.HTTPError as error:
        return not_asked(f"the provider does not answer: {reason(error)}")
    ended = now()
    try:
        at = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return not_asked("the provider's answer has no date")
    # The header counts whole seconds, rounded down.
    return _skew(at, began - 1, ended, "the provider's")


def _skew(at: float, began: float, ended: float, whose: str) -> Finding:
    """``at`` was read between ``began`` and ``ended``: only what lies outside is skew."""
    skew_s = max(began - at, at - ended, 0.0)
    if skew_s <= SURPRISING_S:
        return ok(f"agrees with {whose}")
    side = "behind" if at > ended else "ahead of"
    told = f"this machine's clock is {skew_s:.0f} s {side} {whose}"
    return wrong(told, SET_CLOCK) if skew_s > LEEWAY_S else warning(told, SET_CLOCK)


async def data_folder(deployment: Deployment) -> Finding:
    settings = deployment.settings
    if "storage" not in settings.serve:
        return ok("pictures are not kept on this machine")
    if settings.storage_object_store_url:
        return ok("pictures are in an object store")
    folder = settings.edge_data_dir.absolute()
    return await asyncio.to_thread(_writable, folder)


async def database_disk(deployment: Deployment) -> Finding:
    if not (await deployment.server).is_here:
        return not_asked("the database is on another machine", "df -h   # there")
    async with deployment.resources.pool.connection() as connection:
        cursor = await connection.execute(
            "select pg_has_role('pg_read_all_settings', 'usage') as may"
        )
        [row] = await cursor.fetchall()
        if not row["may"]:
            return not_asked("this login may not ask where the data is", "show data_directory;")
        [row] = await (
            await connection.execute("select current_setting('data_directory') as folder")
        ).fetchall()
    try:
        return await asyncio.to_thread(_room, Path(row["folder"]))
    except OSError:
        return not_asked(f"{row['folder']} cannot be seen from here", f"df -h {row['folder']}")


def _writable(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return wrong(f"{folder} cannot be written: {error.strerror}", _remedy(error, folder))
    return _room(folder)


def _remedy(error: OSError, folder: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"df -h {folder}"
    if isinstance(error, PermissionError):
        if os.path.exists(folder):  # Path.exists raises where the way to it is closed
            return f"sudo chown -R picture-edge {folder}"
        return f"sudo install -d -o picture-edge {folder}"
    return "EDGE_DATA_DIR=<a folder of the service's user>"


def _room(folder: Path) -> Finding:
    """Raises OSError."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    share = free / (disk.f_blocks * disk.f_frsize or 1)
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1.0
    told = f"{folder} has {_size(free)} free ({share:.0%})"
    if inodes < FEW_FILES:
        return wrong(f"{folder} has no room for more files (inodes)", f"df -i {folder}")
    if free < FULL_BYTES:
        return wrong(told, f"df -h {folder}")
    if share < LOW and free < LOW_BYTES:
        return warning(told, f"df -h {folder}")
    return ok(told)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"
