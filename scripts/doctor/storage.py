"""Checks of where pictures are kept: the bucket, and one tiny object through its whole life."""

from uuid import UUID, uuid4

import httpx

from functions._shared.errors import FunctionError
from functions._shared.settings import Settings
from scripts.doctor.database import START
from scripts.doctor.deployment import Deployment, reason
from scripts.doctor.findings import Finding, State, not_asked, ok, warning, wrong

NOBODY = UUID(int=0)
"""The folder of the tiny object: paths are below a user's id, and nobody has this one."""
WEBP = bytes.fromhex("524946461a000000574542505650384c0d0000002f00000010071011118888fe0700")
"""A picture of one pixel: the bucket takes pictures only."""


def address(settings: Settings) -> str:
    return str(settings.supabase_url)


async def bucket(deployment: Deployment) -> Finding:
    name = deployment.settings.storage_bucket
    try:
        return ok(await deployment.resources.storage.check())
    except FunctionError as error:
        told = str(error)
    except httpx.HTTPError as error:
        return wrong(f"not reachable: {reason(error)}", "SUPABASE_URL=<where /storage/v1 is>")
    if "is not public" in told:
        do = f"update storage.buckets set public = true where id = '{name}';"  # noqa: S608 - printed
        return wrong(told, do)
    if "not found" in told.lower():
        values = f"('{name}', '{name}', true)"
        do = f"insert into storage.buckets (id, name, public) values {values};"  # noqa: S608 - printed
        return wrong(f"no bucket {name}: {told}", do)
    return wrong(told, _remedy(told))


async def a_picture(deployment: Deployment) -> Finding:
    """Put, read by the address that clients get, delete. Not without a bucket: what is half done would stay there."""
    storage = deployment.resources.storage
    if (await bucket(deployment)).state is not State.OK:
        return not_asked("the bucket is not well")
    path = f"{NOBODY}/doctor-{uuid4()}.webp"
    try:
        url = await storage.upload(path, WEBP, "image/webp")
    except FunctionError as error:
        return wrong(f"not stored: {error}", _remedy(str(error)))
    try:
        found = await _read(deployment, url)
    finally:
        left = await _remove(deployment, path)
    return found or left or ok("stored, read by its public address, deleted")


async def _remove(deployment: Deployment, path: str) -> Finding | None:
    try:
        await deployment.resources.storage.remove([path])
    except FunctionError as error:
        return warning(f"{path} was not deleted: {error}", _remedy(str(error)))
    return None


def _remedy(told: str) -> str:
    """For a refusal in Storage's own words: it has many, and the key is the usual cause."""
    if "no room" in told:
        return "df -h   # where EDGE_DATA_DIR is"
    if "database" in told:
        return START
    return "SUPABASE_SERVICE_ROLE_KEY=<the key of the Supabase at SUPABASE_URL>"


async def _read(deployment: Deployment, url: str) -> Finding | None:
    do = "PUBLIC_URL=<the address that clients use>"
    base = deployment.settings.public_base
    try:
        answer = await deployment.resources.http.get(url)
    except httpx.HTTPError as error:
        return wrong(f"stored, but {base} does not answer: {reason(error)}", do)
    if answer.content != WEBP:
        told = f"stored, but {base} answers HTTP {answer.status_code}, and other bytes"
        return wrong(told, do)
    return None
