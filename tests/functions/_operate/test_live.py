"""A generation's changes as server-sent events: for whom and how long."""

import time
from types import SimpleNamespace
from uuid import uuid4

import httpx

from functions._operate.live import events_of
from functions.start_generation.streams import Streams
from tests.conftest import Edge
from tests.functions._operate.operators import generation_id


def test_a_stream_is_of_a_generation_that_there_is(seeded: Edge, ada: httpx.Client):
    assert ada.get(f"/operate/generations/{uuid4()}/events").status_code == 404
    assert ada.get("/operate/generations/nothing/events").status_code == 404
    ended = ada.get(f"/operate/generations/{generation_id(30)}/events")
    assert ended.text == "event: ended\ndata: \n\n"


async def test_a_stream_ends_with_the_session():
    streams = Streams(SimpleNamespace(), lambda: True)  # type: ignore[arg-type]
    assert [event async for event in events_of(streams, uuid4(), time.time() - 1)] == []
    assert streams._watches == set()
