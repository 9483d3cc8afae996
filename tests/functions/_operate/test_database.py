"""The page's way to the database: what it says where that is busy, or older than the page."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from functions._operate import database
from functions._shared.errors import Unavailable
from tests.conftest import Database, Edge
from tests.functions._operate.operators import post


async def test_a_page_waits_for_its_turn_and_not_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "SIDE_BY_SIDE", 1)
    monkeypatch.setattr(database, "WAIT_S", 0.01)
    pool: Any = None
    pages = database.OperateDatabase(pool)
    async with pages._turn():
        with pytest.raises(Unavailable, match="try again"):
            async with pages.reading():
                pass
        with pytest.raises(Unavailable, match="try again"):
            await pages.act("ada", "select 1", {})
    async with pages._turn():
        pass


def test_older_sql_is_told_with_what_to_do(operate: Edge, ada: httpx.Client, db: Database):
    db.execute("alter function public.pause_queue(text) rename to paused_by_another_name")
    answer = post(ada, "/pause", type="*")
    assert answer.status_code == 503
    assert "make schema" in answer.text


def test_a_query_that_waits_ends(
    operate: Edge,
    ada: httpx.Client,
    connect: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(database, "READ_MS", 50)
    other = connect(autocommit=False)
    other.execute("lock table provider_limits in access exclusive mode")
    answer = ada.get("/operate")
    other.rollback()
    assert answer.status_code == 503
    assert "has not answered" in answer.text
