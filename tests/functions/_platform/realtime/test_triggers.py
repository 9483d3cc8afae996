"""Changes by triggers and NOTIFY: what those of logical decoding are, and nothing is left behind."""

from collections.abc import Callable

import pytest
from websockets.sync.client import connect

from tests.conftest import Database, Edge, running_edge
from tests.functions._platform.realtime.conftest import ME, Socket, binding, token_of
from tests.help import eventually

TRIGGERS = "select count(*) as n from pg_trigger where tgname = 'picture_edge_realtime'"


@pytest.mark.parametrize("realtime", [{"REALTIME_CHANGES": "triggers"}], indirect=True)
def test_insert_update_and_delete(
    realtime: Edge, open_socket: Callable[..., Socket], db: Database, notes: Callable[..., None]
):
    ready = f"{realtime.url}/ready"
    eventually(lambda: realtime.client.get(ready).json()["realtime"] == "triggers")
    mine, nobodys = open_socket(), open_socket()
    mine.join("notes", token_of(ME), postgres_changes=[binding(filter="text=neq.x")])
    mine.until("system")
    nobodys.join("notes", postgres_changes=[binding("UPDATE")])
    nobodys.until("system")
    notes(1, tags=["a"], at="2026-11-23 10:00:00+00")
    data = mine.next()["payload"]["data"]
    assert data["type"] == "INSERT"
    assert data["record"]["tags"] == ["a"]
    assert data["record"]["at"] == "2026-11-23T10:00:00+00:00"
    db.execute("update notes set text = 'x'")
    db.execute("update notes set text = 'y'")
    data = mine.next()["payload"]["data"]
    assert (data["type"], data["record"]["text"]) == ("UPDATE", "y")
    assert data["old_record"] == {"id": 1}
    assert nobodys.silent()
    assert db.execute(TRIGGERS).fetchone()["n"] > 0


def test_triggers_go_with_the_gateway(
    start_edge: Callable[..., Edge],
    environ: dict[str, str],
    db: Database,
    notes: Callable[..., None],
):
    with running_edge(**environ, SERVE="realtime", REALTIME_CHANGES="triggers") as edge:
        url = f"{edge.url.replace('http', 'ws')}/realtime/v1/websocket?apikey={edge.anon_key}&vsn=2.0.0"
        with connect(url) as websocket:
            Socket(websocket, "2.0.0").join("notes", postgres_changes=[binding()])
            assert db.execute(TRIGGERS).fetchone()["n"] > 0
    assert db.execute(TRIGGERS).fetchone() == {"n": 0}
