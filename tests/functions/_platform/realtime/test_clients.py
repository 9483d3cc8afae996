"""The app's channels with the real clients: supabase-js of three versions, and supabase-py (async)."""

import asyncio
import json
import os
import subprocess
from typing import Any
from uuid import uuid4

import pytest
from supabase import AsyncClientOptions, acreate_client

from tests.clients.node import HERE, VERSIONS, needs_node
from tests.conftest import Database, Edge

pytestmark = pytest.mark.slow


class Work:
    """A generation and its job, as rows."""

    def __init__(self, db: Database, user: str) -> None:
        self._db = db
        db.execute(
            "insert into auth.users (id, email) values (%s, %s)", (user, f"{user}@example.test")
        )
        row = db.execute(
            "insert into public.image_generations (user_id, prompt, status)"
            " values (%s, 'a long prompt', 'queued') returning id",
            (user,),
        ).fetchone()
        assert row
        self.generation = str(row["id"])
        row = db.execute(
            "insert into public.job_queue (job_type, payload, created_by)"
            " values ('cleanup-storage', '{}', %s) returning id",
            (user,),
        ).fetchone()
        assert row
        self.job = str(row["id"])

    def run(self) -> None:
        self._db.execute(
            "update public.image_generations set status = 'processing' where id = %s",
            (self.generation,),
        )
        self._db.execute(
            "update public.job_queue set status = 'processing' where id = %s", (self.job,)
        )


@needs_node
@pytest.mark.parametrize("version", VERSIONS)
def test_supabase_js(idle_realtime: Edge, db: Database, version: str):
    mine, other = Work(db, idle_realtime.user_id), Work(db, str(uuid4()))
    call = {"generation": mine.generation, "job": mine.job, "user": idle_realtime.user_id}
    environ = {
        "CLIENT": version,
        "SUPABASE_URL": idle_realtime.url,
        "SUPABASE_KEY": idle_realtime.anon_key,
        "TOKEN": idle_realtime.user_token(),
        "CALL": json.dumps(call),
    }
    with subprocess.Popen(
        ["node", "realtime.mjs"],
        cwd=HERE,
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        assert node.stdin
        assert node.stdout
        told: list[Any] = []

        def until(wanted: int, what: str) -> None:
            while sum(line[0].startswith(what) for line in told) < wanted:
                line = node.stdout.readline() if node.stdout else ""
                assert line, told
                told.append(json.loads(line))

        until(1, "joined")
        assert ["chat", "shout", {"loud": 1}] in told
        assert ["sent", "ok"] in told
        assert ["tracked", "ok"] in told
        other.run()
        mine.run()
        until(1, "user-jobs:")
        until(1, "job:")
        until(1, "generation:")
        node.stdin.close()
        until(1, "left")
    key = {"id": mine.job}
    changes = [line for line in told if ":" in line[0]]
    assert sorted(changes) == sorted(
        [
            [
                f"generation:{mine.generation}",
                "UPDATE",
                "processing",
                {"id": mine.generation},
                None,
            ],
            [f"job:{mine.job}", "UPDATE", "processing", key, None],
            [f"user-jobs:{idle_realtime.user_id}", "UPDATE", "processing", key, None],
        ]
    )
    assert ["chat", "here", ["me"]] in told


async def test_supabase_py(idle_realtime: Edge, db: Database):
    mine, other = Work(db, idle_realtime.user_id), Work(db, str(uuid4()))
    client = await acreate_client(
        idle_realtime.url, idle_realtime.anon_key, AsyncClientOptions(headers={})
    )
    await client.realtime.set_auth(idle_realtime.user_token())
    heard: asyncio.Queue[Any] = asyncio.Queue()
    joined = asyncio.Event()
    channel = client.channel(f"generation:{mine.generation}")
    channel.on_postgres_changes(
        "UPDATE",
        heard.put_nowait,
        schema="public",
        table="image_generations",
        filter=f"id=eq.{mine.generation}",
    )
    channel.on_broadcast("shout", heard.put_nowait)
    await channel.subscribe(lambda status, _: joined.set() if status == "SUBSCRIBED" else None)
    async with asyncio.timeout(20):
        await joined.wait()
        other.run()
        mine.run()
        change = await heard.get()
        assert change["data"]["record"]["status"] == "processing"
        assert change["data"]["record"]["prompt"] == "a long prompt"
    await client.remove_all_channels()
