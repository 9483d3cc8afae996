"""The floor of page storage: a Starlette app with one route a case, in a process of its own; no rights, no checks."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import uvicorn
from jose import jwt
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from functions._shared.local_keys import LOCAL_JWT_SECRET
from functions.gateway.server import UVICORN
from scripts.bench.bare import SETTINGS
from scripts.postgres import free_port
from scripts.stack import bound

LIST = """
select json_agg(found)::text from (
    select name, id, updated_at, created_at, last_accessed_at, metadata from storage.objects
    where bucket_id = 'source-images' and name collate "C" > %s order by name collate "C" limit 100
) as found
"""
PUT = """
insert into storage.objects (bucket_id, name, version) values ('source-images', 'bare.png', %s)
on conflict (bucket_id, name) do update set version = excluded.version, updated_at = now()
"""
FIND = "select id from storage.objects where bucket_id = 'source-images' and name = %s"


def serve_files(pipe: Connection, database: str, user: str, folder: str) -> None:
    """Serve until terminated; sends the address through ``pipe``. ``user``: whose objects are listed."""
    root = Path(folder)
    root.mkdir()
    (root / "file").write_bytes(b"x" * 1_000_000)
    (root / "thumbnail").write_bytes(b"x" * 60_000)
    pool = AsyncConnectionPool(database, max_size=10, kwargs={"autocommit": True}, open=False)
    claims = json.dumps({"sub": user, "role": "authenticated"})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pool:
            yield

    async def selected(statement: str, value: str) -> tuple[object, ...]:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(SETTINGS, (claims,))
            row = await (await connection.execute(statement.encode(), (value,))).fetchone()
        return row or ()

    async def up(request: Request) -> Response:
        part = root / str(uuid4())
        with part.open("wb") as out:
            async for chunk in request.stream():
                out.write(chunk)
            await asyncio.to_thread(os.fsync, out.fileno())
        part.rename(root / "file")
        async with pool.connection() as connection:
            await connection.execute(PUT, (part.name,))
        return Response()

    async def down(request: Request) -> Response:
        return FileResponse(root / request.url.path.strip("/"))

    async def listed(_: Request) -> Response:
        [text] = await selected(LIST, f"{user}/many/")
        return Response(str(text))

    async def sign(_: Request) -> Response:
        await selected(FIND, f"{user}/a.png")
        told = {"url": f"source-images/{user}/a.png", "exp": int(time.time()) + 60}
        return JSONResponse({"signedURL": jwt.encode(told, LOCAL_JWT_SECRET, algorithm="HS256")})

    routes = [
        Route("/file", up, methods=["PUT"]),
        Route("/file", down),
        Route("/thumbnail", down),
        Route("/list", listed),
        Route("/sign", sign),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    with bound("127.0.0.1", free_port(), "bare") as listener:
        pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
        uvicorn.Server(uvicorn.Config(app, **UVICORN)).run(sockets=[listener])
