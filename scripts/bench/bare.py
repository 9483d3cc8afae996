"""The floor of page platform: a Starlette app with one route a case, in a process of its own.

Each route does what a handler by hand would: a pooled connection, a transaction, role and claims, one statement whose
result is JSON text. No token is checked and nothing of the request is parsed but an INSERT's body. psycopg is as it
comes, and so prepares a statement from the sixth call on.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection

import uvicorn
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.gateway.server import UVICORN
from scripts.postgres import free_port
from scripts.stack import bound

CONNECTIONS = 10
"""As PGRST_DB_POOL."""
SETTINGS = (
    "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)"
)
STATEMENTS = {
    "row": """
        select coalesce(json_agg(found), '[]')::text
        from (select * from public.image_generations where id = %(id)s) as found
    """,
    "list": """
        select coalesce(json_agg(found), '[]')::text
        from (
            select generation.*, embedded.images
            from public.image_generations as generation
            left join lateral (
                select coalesce(json_agg(image), '[]') as images
                from (select * from public.images where generation_id = generation.id) as image
            ) as embedded on true
            order by generation.created_at desc
            limit 20
        ) as found
    """,
    "insert": """
        with inserted as (
            insert into public.image_generations (user_id, prompt) values (%(user_id)s, %(prompt)s) returning *
        )
        select json_agg(inserted)::text from inserted
    """,
    "rpc": "select to_json(public.count_generations(%(wanted)s))::text",
}
"""Case → its statement: what /rest/v1 has PostgreSQL do for the same request, in the words of a handler by hand."""


def serve_bare(pipe: Connection, database: str, claims: str, parameters: dict[str, str]) -> None:
    """Serve /<case> until terminated; sends the address through ``pipe``. ``parameters``: those of the statements."""
    pool = AsyncConnectionPool(
        database,
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        kwargs={"autocommit": True},
        open=False,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pool:
            yield

    async def answer(request: Request) -> Response:
        statement = STATEMENTS[request.path_params["case"]]
        given = parameters | json.loads(await request.body() or b"{}")
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(SETTINGS, (claims,))
            cursor = await connection.execute(statement.encode(), given)
            row = await cursor.fetchone()
        return Response(row[0] if row else "", media_type="application/json")

    app = Starlette(routes=[Route("/{case}", answer, methods=["GET", "POST"])], lifespan=lifespan)
    with bound("127.0.0.1", free_port(), "bare") as listener:
        pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
        uvicorn.Server(uvicorn.Config(app, **UVICORN)).run(sockets=[listener])
