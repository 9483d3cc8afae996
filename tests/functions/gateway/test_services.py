"""Services of Supabase's: where each is served from is chosen by SERVE and SUPABASE_UPSTREAM_URL, told, and held to."""

import contextlib
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_websocket

from functions.gateway.app import PLATFORM
from functions.gateway.upstream import SERVICES
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge


@pytest.fixture
def alone(start_edge) -> Edge:
    """A gateway that serves the functions and nothing else."""
    return start_edge(SERVE="")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_nobody_serves_is_404_and_names_the_settings(alone: Edge, service):
    answer = alone.client.get(f"{alone.url}/{service}/v1/anything")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    said = answer.json()["error"]
    assert "SUPABASE_UPSTREAM_URL" in said
    assert (f"name {service} in SERVE" in said) == (service in PLATFORM)


def test_ready_tells_where_each_service_is_served_from(start_edge):
    def told(**settings: str) -> dict[str, str]:
        edge = start_edge(**settings)
        services: dict[str, str] = edge.client.get(f"{edge.url}/ready").json()["services"]
        return services

    nowhere = dict.fromkeys(SERVICES, "not served")
    assert told(SERVE="") == nowhere
    assert told() == nowhere | dict.fromkeys(PLATFORM, "here")
    upstream = "http://127.0.0.1:1"
    assert told(SERVE="rest", SUPABASE_UPSTREAM_URL=upstream) == dict.fromkeys(
        SERVICES, "upstream"
    ) | {"rest": "here"}


def test_what_is_not_served_opens_nothing(alone: Edge, connect):
    """A service's pool and caches cost connections and memory."""
    sessions = (
        connect()
        .execute(
            "select application_name from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        .fetchall()
    )
    assert not [row for row in sessions if "rest" in row["application_name"]]


def websocket_of(edge: Edge) -> Any:
    url = f"{edge.url.replace('http', 'ws')}/realtime/v1/websocket?apikey={edge.anon_key}&vsn=2.0.0"
    return connect_websocket(url)


def test_a_websocket_that_nobody_serves_is_told_so_as_well(alone: Edge):
    with pytest.raises(InvalidStatus) as refused, websocket_of(alone):
        pass
    response = refused.value.response
    assert response.status_code == 404
    assert "name realtime in SERVE" in json.loads(response.body)["error"]


def test_a_websocket_goes_to_the_upstream_or_is_served_here(start_edge):
    async def upstream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("upstream")
        with contextlib.suppress(Exception):
            await websocket.receive()

    app = Starlette(routes=[WebSocketRoute("/realtime/v1/websocket", upstream)])
    with bound("127.0.0.1", free_port(), "upstream") as listener, serving(app, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with websocket_of(start_edge(SERVE="rest", SUPABASE_UPSTREAM_URL=url)) as websocket:
            assert websocket.recv(timeout=10) == "upstream"
        with websocket_of(start_edge(SERVE="realtime", SUPABASE_UPSTREAM_URL=url)) as websocket:
            websocket.send('[null,"1","phoenix","heartbeat",{}]')
            assert "phx_reply" in websocket.recv(timeout=10)
