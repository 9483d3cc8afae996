"""A gateway that serves /realtime/v1, and a bare websocket that speaks its frames."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import Database, Edge, user_token

WAIT_S = 10


class Socket:
    """One connection. ``join`` and the others return the server's frames, as objects in both versions."""

    def __init__(self, websocket: ClientConnection, version: str) -> None:
        self.websocket = websocket
        self._version = version
        self._refs = 0

    def send(self, topic: str, event: str, payload: Any) -> str:
        self._refs += 1
        ref = str(self._refs)
        frame: Any = {
            "topic": topic,
            "event": event,
            "payload": payload,
            "ref": ref,
            "join_ref": "1",
        }
        if self._version == "2.0.0":
            frame = ["1", ref, topic, event, payload]
        self.websocket.send(json.dumps(frame))
        return ref

    def next(self) -> dict[str, Any]:
        found = json.loads(self.websocket.recv(timeout=WAIT_S))
        if isinstance(found, list):
            return dict(zip(("join_ref", "ref", "topic", "event", "payload"), found, strict=True))
        return dict(found)

    def until(self, event: str) -> dict[str, Any]:
        """The next frame of this event; those before it are passed over."""
        while True:
            frame = self.next()
            if frame["event"] == event:
                return frame

    def silent(self) -> bool:
        """Whether nothing arrives before the answer to a heartbeat, which is sent behind everything else."""
        ref = self.send("phoenix", "heartbeat", {})
        return self.next()["ref"] == ref

    def join(self, topic: str, token: str | None = None, **config: Any) -> dict[str, Any]:
        """The reply's payload."""
        base = {"presence": {"key": "", "enabled": False}}
        payload: dict[str, Any] = {"config": {**base, **config}}
        if token:
            payload["access_token"] = token
        self._refs = 0
        self.send(f"realtime:{topic}", "phx_join", payload)
        found: dict[str, Any] = self.until("phx_reply")["payload"]
        return found


@pytest.fixture
def realtime(start_edge: Callable[..., Edge], request: pytest.FixtureRequest) -> Edge:
    """Parametrised indirectly: with other settings."""
    return start_edge(SERVE="realtime,rest", **getattr(request, "param", {}))


@pytest.fixture
def open_socket(realtime: Edge) -> Iterator[Callable[..., Socket]]:
    with ExitStack() as stack:

        def opened(version: str = "2.0.0", key: str | None = None) -> Socket:
            url = realtime.url.replace("http", "ws")
            key = realtime.anon_key if key is None else key
            address = f"{url}/realtime/v1/websocket?apikey={key}&vsn={version}"
            return Socket(stack.enter_context(connect(address)), version)

        yield opened


@pytest.fixture
def socket(open_socket: Callable[..., Socket]) -> Socket:
    return open_socket()


def token_of(user: str, **claims: Any) -> str:
    return user_token(sub=user, **claims)


@pytest.fixture
def idle_realtime(start_edge: Callable[..., Edge], monkeypatch: pytest.MonkeyPatch) -> Edge:
    """A gateway whose worker leaves the test's jobs alone."""

    async def never(_: object) -> None:
        return None

    monkeypatch.setattr("functions.process_jobs.worker.Worker._claim_loop", never)
    return start_edge(SERVE="realtime,rest")


NOTES = """
create table public.notes (
    id bigint primary key, owner uuid, text text, tags text[], done boolean, score numeric, at timestamptz, more jsonb
);
alter table public.notes enable row level security;
create policy own on public.notes for select to authenticated
using (owner = (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid);
grant select on public.notes to authenticated, anon;
alter publication supabase_realtime add table public.notes;
"""
ME, OTHER = str(uuid4()), str(uuid4())


@pytest.fixture
def notes(db: Database) -> Callable[..., None]:
    db.execute("set client_min_messages = error")
    db.execute(NOTES.encode())

    def insert(number: int, owner: str = ME, **values: Any) -> None:
        columns = {"id": number, "owner": owner, "text": "hello", **values}
        names = ", ".join(columns)
        places = ", ".join(["%s"] * len(columns))
        db.execute(f"insert into notes ({names}) values ({places})".encode(), [*columns.values()])

    return insert


def binding(event: str = "*", **more: Any) -> dict[str, Any]:
    return {"event": event, "schema": "public", "table": "notes", **more}
