"""GET start-generation/<id>: reads that come together share a statement; each caller gets its own row, or 404."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from functions._local.defaults import local_environment
from functions._shared.database.pool import make_pool
from functions._shared.errors import NotFound
from functions._shared.settings import Settings
from functions.start_generation.own_generation import OwnGenerations
from tests.conftest import Edge, user_token
from tests.help import BODY


def start(edge: Edge, prompt: str) -> str:
    return str(edge.post("start-generation", {**BODY, "prompt": prompt}).json()["generation_id"])


def test_to_each_its_own_row(idle_edge: Edge):
    prompts = [f"cat {n} \N{CAT FACE}" for n in range(20)]
    ids = [start(idle_edge, prompt) for prompt in prompts]
    asked = [*ids, *(str(uuid4()) for _ in range(5)), "no-uuid"]
    with ThreadPoolExecutor(26) as clients:
        answers = list(clients.map(lambda one: idle_edge.get(f"start-generation/{one}"), asked))
    shown = [(answer.status_code, answer.json().get("prompt")) for answer in answers]
    assert shown == [(200, prompt) for prompt in prompts] + [(404, None)] * 6
    assert answers[0].headers["content-type"] == "application/json"
    assert answers[0].json()["images"] == []
    foreign = idle_edge.get(f"start-generation/{ids[0]}", user_token())
    assert (foreign.status_code, foreign.json()["error"]) == (404, "Generation not found")


async def test_reads_that_come_together_are_one_statement(idle_edge: Edge, dsn, monkeypatch):
    ids = [UUID(start(idle_edge, f"cat {n}")) for n in range(3)]
    user, sizes, read = UUID(idle_edge.user_id), [], OwnGenerations._read

    async def counted(self, asked):
        sizes.append(len(asked))
        return await read(self, asked)

    monkeypatch.setattr(OwnGenerations, "_read", counted)
    settings = Settings.from_env(local_environment({"SUPABASE_DB_URL": dsn}))
    async with make_pool(settings, min_size=1) as pool:
        reads = OwnGenerations(pool)
        asked = [reads.find(id_, user) for id_ in ids] + [reads.find(ids[0], uuid4())]
        *rows, foreign = await asyncio.gather(*asked, return_exceptions=True)
    assert sizes == [4]
    assert [str(id_).encode() in row for id_, row in zip(ids, rows, strict=True)] == [True] * 3
    with pytest.raises(NotFound):
        raise foreign
