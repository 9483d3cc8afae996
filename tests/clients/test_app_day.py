"""An app's day with the real clients: accounts, pictures, rows, and what others see of them."""

from contextlib import AsyncExitStack, ExitStack

import httpx
import pytest
from supabase import AsyncClientOptions, ClientOptions, acreate_client, create_client

from functions._local.defaults import PUBLISHABLE_KEY
from tests.clients.day import day
from tests.clients.node import VERSIONS, needs_node, run_node
from tests.conftest import Edge

pytestmark = pytest.mark.slow

TOLD = {
    "signed_up": ["Ada", "bearer"],
    "again": [422, "User already registered"],
    "wrong": [400, "Invalid login credentials"],
    "same_user": True,
    "picture": ["completed", 1, "image/webp"],
    "first_page": [3, ["a hare", "an owl"]],
    "second_page": [3, ["a fox"]],
    "counted": 3,
    "filtered": ["a fox"],
    "none": None,
    "not_one": ["PGRST116", "The result contains 0 rows"],
    "embedded": [{"format": "webp", "image_generations": {"prompt": "an owl"}}],
    "inserted": {"prompt": "a bear", "status": "pending"},
    "forged": "42501",
    "job": ["generate-image", True],
    "profile": ["Grace", "dark"],
    "refreshed": True,
    "other": [[], [], "PGRST116", []],
    "anon": "42501",
    "models": 1,
    "signed_out": [None, [400, "Invalid Refresh Token: Refresh Token Not Found"]],
}


@needs_node
@pytest.mark.parametrize("version", VERSIONS)
def test_a_day_with_supabase_js(edge: Edge, version):
    assert run_node("day.mjs", edge, None, version) == TOLD


@needs_node
def test_a_day_with_a_publishable_key(edge: Edge):
    edge.anon_key = PUBLISHABLE_KEY
    assert run_node("day.mjs", edge, None) == TOLD


async def test_a_day_with_supabase_py(edge: Edge):
    with ExitStack() as stack:

        async def connect():
            http = stack.enter_context(httpx.Client(timeout=30))
            return create_client(edge.url, edge.anon_key, ClientOptions(httpx_client=http))

        assert await day(connect) == TOLD


async def test_a_day_with_the_async_supabase_py(edge: Edge):
    async with AsyncExitStack() as stack:

        async def connect():
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
            options = AsyncClientOptions(httpx_client=http)
            return await acreate_client(edge.url, edge.anon_key, options)

        assert await day(connect) == TOLD
