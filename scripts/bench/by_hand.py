"""The floor of page pictures: the bare requests and statements of a picture, one by one, without checks or retries."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from functions._local.defaults import local_environment

AT_ONCE, CONNECTIONS = 64, 10
"""As a gateway's defaults."""
MODEL = "black-forest-labs/flux-schnell"

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]
Job = tuple[UUID, int, dict[str, Any]]


def pictures_by_hand(url: str, settings: Mapping[str, str], count: int) -> None:
    """Make the pictures of ``count`` queued generate-image jobs."""
    asyncio.run(_all(url, settings, count))


async def _all(url: str, settings: Mapping[str, str], count: int) -> None:
    options = {"autocommit": True, "prepare_threshold": None}
    async with (
        AsyncConnectionPool(
            url,
            connection_class=psycopg.AsyncConnection[Any],
            kwargs=options,
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            open=False,
        ) as pool,
        httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=AT_ONCE)) as http,
    ):
        left = asyncio.Semaphore(AT_ONCE)
        done: set[asyncio.Task[None]] = set()
        while len(done) < count:
            jobs = await _rows(
                pool,
                "select id, lease_token, payload"
                " from public.claim_jobs(%s, 'by hand', '1 min', '{generate-image}')",
                (AT_ONCE,),
            )
            for job in jobs:
                await left.acquire()
                task = asyncio.create_task(_picture(pool, http, settings, job))
                task.add_done_callback(lambda _: left.release())
                done.add(task)
        await asyncio.gather(*done)


async def _picture(
    pool: Pool, http: httpx.AsyncClient, settings: Mapping[str, str], job: Job
) -> None:
    job_id, token, payload = job
    generation = payload["generation_id"]
    await _rows(
        pool,
        "select 1 from picture_edge.begin_generate_image(%s, %s, %s, '10 min')",
        (job_id, token, generation),
    )
    [(intent,)] = await _rows(
        pool,
        "select intent_id from picture_edge.intend_prediction(%s, %s, %s, null, %s, 'webp', '{}', '10 min')",
        (job_id, token, MODEL, Jsonb(payload)),
    )
    provider = settings["REPLICATE_API_URL"]
    bearer = {"Authorization": f"Bearer {settings['REPLICATE_API_TOKEN']}"}
    wanted = {"input": {"prompt": "x", "seed": 1, "megapixels": "0.25"}}
    created = await http.post(
        f"{provider}/models/{MODEL}/predictions", json=wanted, headers={**bearer, "Prefer": "wait"}
    )
    prediction = created.json()
    await _rows(
        pool,
        "select picture_edge.park_prediction(%s, %s, %s)",
        (intent, token, prediction["id"]),
    )
    [(download, download_token)] = await _rows(
        pool,
        "select id, lease_token from picture_edge.succeed_prediction(%s, %s, %s, 1, 'by hand', '1 min')",
        (intent, token, prediction["output"]),
    )
    picture = await http.get(prediction["output"][0])
    path = f"{payload['user_id']}/{generation}.webp"
    key = local_environment(settings)["SUPABASE_SERVICE_ROLE_KEY"]
    await http.post(
        f"{settings['SUPABASE_URL']}/storage/v1/object/generated-images/{path}",
        content=picture.content,
        headers={"Authorization": f"Bearer {key}"},
    )
    image = {"user_id": payload["user_id"], "filename": path, "storage_path": path}
    size = {"public_url": path, "file_size": 1, "width": 1, "height": 1, "format": "webp"}
    await _rows(
        pool,
        "select picture_edge.finish_download_image(%s, %s, %s)",
        (download, download_token, Jsonb([image | size])),
    )


async def _rows(pool: Pool, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    async with pool.connection() as connection:
        cursor = await connection.execute(statement.encode(), values)
        return await cursor.fetchall()
