"""procrastinate: install | work count | work time | client. See README.md."""
# Run by the peers' own Python: what it imports is not installed here.
# mypy: disable-error-code=import-not-found
# pyright: reportMissingImports=false

import asyncio
import logging
import os
import sys

import procrastinate
import uvloop
from python_queue import Handler, serve_client

CONCURRENCY = 24


async def main(role: str, mode: str = "") -> None:
    logging.disable(logging.WARNING)
    handle = Handler(mode)

    async def bench() -> None:
        handle()

    connector = procrastinate.PsycopgConnector(
        conninfo=os.environ["DATABASE_URL"], min_size=10, max_size=10
    )
    app = procrastinate.App(connector=connector)
    task = app.task(bench, name="bench")
    async with app.open_async():
        if role == "install":
            await app.schema_manager.apply_schema_async()
        elif role == "client":
            await serve_client(
                task.defer_async, lambda count: task.batch_defer_async(*([{}] * count))
            )
        else:
            await asyncio.gather(handle.tell(), app.run_worker_async(concurrency=CONCURRENCY))


uvloop.run(main(*sys.argv[1:]))
