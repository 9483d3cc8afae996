"""pgqueuer: install | work count | work time | client. See README.md."""
# Run by the peers' own Python: what it imports is not installed here.
# mypy: disable-error-code=import-not-found
# pyright: reportMissingImports=false

import asyncio
import os
import sys

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.queries import Queries
from python_queue import Handler, serve_client

BATCH = 100


async def main(role: str, mode: str = "") -> None:
    handle = Handler(mode)

    async def bench(_: object) -> None:
        handle()

    url = os.environ["DATABASE_URL"]
    if role == "work":
        queue = PgQueuer.from_asyncpg_connection(await asyncpg.connect(url))
        queue.entrypoint("bench")(bench)
        await asyncio.gather(handle.tell(), queue.run(batch_size=BATCH))
        return
    async with asyncpg.create_pool(url, min_size=8, max_size=8) as pool:
        queries = Queries.from_asyncpg_pool(pool)
        if role == "install":
            await queries.install()
        else:
            await serve_client(
                lambda: queries.enqueue("bench", None),
                lambda count: queries.enqueue(["bench"] * count, [None] * count, [0] * count),
            )


uvloop.run(main(*sys.argv[1:]))
