"""The real supabase-py, sync and async, against a live gateway."""

import pytest
from supabase import AsyncClientOptions, ClientOptions, acreate_client, create_client
from supabase_functions.errors import FunctionsHttpError

from tests.conftest import Edge
from tests.help import BODY, until_ended

pytestmark = pytest.mark.slow

JSON = {"body": BODY, "responseType": "json"}


def sync(edge: Edge):
    headers = {"Authorization": f"Bearer {edge.user_token()}"}
    return create_client(
        edge.url, edge.anon_key, ClientOptions(headers=headers, httpx_client=edge.client)
    )


def test_a_picture_from_start_to_end(edge: Edge):
    started = sync(edge).functions.invoke("start-generation", JSON)
    assert until_ended(edge, started["generation_id"])["status"] == "completed"


def test_an_error_has_our_words(idle_edge: Edge):
    with pytest.raises(FunctionsHttpError, match="Prompt is required"):
        sync(idle_edge).functions.invoke("start-generation", {"body": {}})


def test_headers_that_stay_from_an_earlier_call_do_no_harm(idle_edge: Edge):
    client = sync(idle_edge)
    stale = {"Content-Type": "text/plain", "x-region": "us-east-1"}
    for _ in range(2):
        answer = client.functions.invoke("start-generation", {**JSON, "headers": stale})
        assert answer["success"] is True


async def test_the_async_client_too(edge: Edge):
    headers = {"Authorization": f"Bearer {edge.user_token()}"}
    client = await acreate_client(edge.url, edge.anon_key, AsyncClientOptions(headers=headers))
    started = await client.functions.invoke("start-generation", JSON)
    with pytest.raises(FunctionsHttpError, match="Generation not found"):
        await client.functions.invoke("start-generation/unknown", {"method": "GET"})
    await client.functions._client.aclose()
    assert until_ended(edge, started["generation_id"])["status"] == "completed"
