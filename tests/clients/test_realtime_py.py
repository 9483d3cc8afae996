"""What supabase-py's async Realtime has beside changes of rows: broadcast, presence, private channels, new tokens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from realtime.types import RealtimeSubscribeStates
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from tests.clients.test_realtime_js import POLICIES
from tests.conftest import Database, Edge

pytestmark = pytest.mark.slow

SUBSCRIBED = RealtimeSubscribeStates.SUBSCRIBED
CHANNEL_ERROR = RealtimeSubscribeStates.CHANNEL_ERROR


@pytest.fixture
async def pair(idle_edge: Edge) -> AsyncIterator[tuple[AsyncClient, AsyncClient]]:
    """Two clients of one user."""
    clients = [
        await acreate_client(idle_edge.url, idle_edge.anon_key, AsyncClientOptions(headers={}))
        for _ in range(2)
    ]
    for client in clients:
        await client.realtime.set_auth(idle_edge.user_token())
    yield clients[0], clients[1]
    for client in clients:
        await client.remove_all_channels()


async def join(channel: Any) -> RealtimeSubscribeStates:
    states: list[RealtimeSubscribeStates] = []
    await channel.subscribe(lambda state, _: states.append(state))
    return states[0]


async def test_broadcast_reaches_the_other_and_oneself_if_asked(pair):
    one, other = pair
    heard: asyncio.Queue[Any] = asyncio.Queue()
    theirs = other.channel("room").on_broadcast("shout", heard.put_nowait)
    mine = one.channel("room", {"config": {"broadcast": {"ack": True, "self": True}}})
    mine.on_broadcast("shout", heard.put_nowait)
    assert [await join(theirs), await join(mine)] == [SUBSCRIBED, SUBSCRIBED]
    await mine.send_broadcast("shout", {"n": 1})
    async with asyncio.timeout(20):
        assert [(await heard.get())["payload"] for _ in range(2)] == [{"n": 1}, {"n": 1}]


async def test_presence_of_two_clients(pair):
    moves: asyncio.Queue[Any] = asyncio.Queue()
    seats = pair[0].channel("seats", {"config": {"presence": {"key": "ann", "enabled": True}}})
    seats.on_presence_join(lambda key, _, new: moves.put_nowait(("join", key, new[0]["at"])))
    seats.on_presence_leave(lambda key, _, left: moves.put_nowait(("leave", key, left[0]["at"])))
    theirs = pair[1].channel("seats", {"config": {"presence": {"key": "ben", "enabled": True}}})
    async with asyncio.timeout(20):
        await join(seats)
        await seats.track({"at": 1})
        assert await moves.get() == ("join", "ann", 1)
        await join(theirs)
        await theirs.track({"at": 2})
        assert await moves.get() == ("join", "ben", 2)
        assert sorted(seats.presence_state()) == ["ann", "ben"]
        await theirs.untrack()
        assert await moves.get() == ("leave", "ben", 2)
        await theirs.unsubscribe()


async def test_private_channels_and_an_expired_token(pair, idle_edge: Edge, db: Database):
    db.execute(POLICIES.encode())
    [one, _] = pair
    private = {"config": {"private": True, "broadcast": {"ack": False, "self": False}}}
    states: asyncio.Queue[tuple[RealtimeSubscribeStates, Exception | None]] = asyncio.Queue()
    own = one.channel(f"own:{idle_edge.user_id}", private)
    await own.subscribe(lambda *told: states.put_nowait(told))
    assert await states.get() == (SUBSCRIBED, None)
    refused = one.channel("own:another", private)
    assert await join(refused) == CHANNEL_ERROR
    await one.remove_channel(refused)
    await one.realtime.set_auth(idle_edge.user_token(exp=1))
    async with asyncio.timeout(20):
        state, error = await states.get()
        assert (state, "Token has expired" in str(error)) == (CHANNEL_ERROR, True)
