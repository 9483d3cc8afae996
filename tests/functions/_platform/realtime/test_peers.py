"""Several processes on one database: broadcast and presence reach the channels of all, and so do those of SQL."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from websockets.sync.client import connect

from tests.conftest import Database, Edge, running_edge
from tests.functions._platform.realtime.conftest import ME, Socket, token_of


def opened(stack: ExitStack, edge: Edge, version: str = "2.0.0") -> Socket:
    address = f"{edge.url.replace('http', 'ws')}/realtime/v1/websocket?apikey={edge.anon_key}&vsn={version}"
    return Socket(stack.enter_context(connect(address)), version)


@pytest.fixture
def two(start_edge: Callable[..., Edge], db: Database) -> Iterator[tuple[Edge, Edge]]:
    """Two gateways that know of each other."""
    edges = start_edge(SERVE="realtime"), start_edge(SERVE="realtime")
    with ExitStack() as stack:
        for here, there in (edges, edges[::-1]):
            met(stack, here, there)
        yield edges


def met(stack: ExitStack, here: Edge, there: Edge) -> None:
    """Until a broadcast of the one reaches the other."""
    one, other = opened(stack, here), opened(stack, there)
    for socket in (one, other):
        socket.join("meeting")
    other.websocket.protocol.max_size = None
    for _ in range(500):
        one.send("realtime:meeting", "broadcast", {"type": "broadcast", "event": "x"})
        try:
            other.websocket.recv(timeout=0.02)
        except TimeoutError:
            continue
        break
    else:
        raise AssertionError("the processes do not meet")


@pytest.mark.parametrize("size", [10, 7_950, 100_000])
def test_broadcast_reaches_the_other_process(two: tuple[Edge, Edge], size: int, db: Database):
    with ExitStack() as stack:
        one, two_, old = (
            opened(stack, two[0]), opened(stack, two[1]), opened(stack, two[1], "1.0.0")
        )  # fmt: skip
        for socket in (one, two_, old):
            socket.join("room", broadcast={"self": True})
        sent = {"type": "broadcast", "event": "shout", "payload": {"a": "\0ü" + "x" * size}}
        one.send("realtime:room", "broadcast", sent)
        for socket in (one, two_, old):
            assert socket.next()["payload"] == sent
            assert socket.silent()
        frame = bytes([3, 1, 1, 13, 5, 0, 0]) + b"19realtime:roombytes" + b"\xff\x00" * size
        one.websocket.send(frame)
        assert two_.websocket.recv(timeout=10).endswith(b"bytes" + b"\xff\x00" * size)
        assert old.silent()


def test_presence_is_that_of_all_processes(
    two: tuple[Edge, Edge], environ: dict[str, str], db: Database
):
    present = {"enabled": True}
    with ExitStack() as stack:
        ann, bob = opened(stack, two[0]), opened(stack, two[1])
        ann.join("room", presence={**present, "key": "ann"})
        bob.join("room", presence={**present, "key": "bob"})
        assert (ann.next()["payload"], bob.next()["payload"]) == ({}, {})
        ann.send("realtime:room", "presence", {"event": "track", "payload": {"n": 1}})
        joined = bob.until("presence_diff")["payload"]["joins"]
        assert joined["ann"]["metas"][0]["n"] == 1
        eve = opened(stack, two[1])
        eve.join("room", presence={**present, "key": "eve"})
        assert eve.next()["payload"] == joined
        with running_edge(**environ, SERVE="realtime") as third:
            met(stack, two[0], third)
            late = opened(stack, third)
            late.join("room", presence={**present, "key": "late"})
            state = late.next()["payload"]  # or, of a process that has just begun, a moment later
            assert joined in (state, state or late.next()["payload"]["joins"])
            late.send("realtime:room", "presence", {"event": "track", "payload": {}})
            assert list(bob.until("presence_diff")["payload"]["joins"]) == ["late"]
        assert list(bob.until("presence_diff")["payload"]["leaves"]) == ["late"]
        ann.websocket.close()
        assert list(bob.until("presence_diff")["payload"]["leaves"]) == ["ann"]


def test_the_members_of_a_dead_process_leave(
    two: tuple[Edge, Edge], db: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("functions._platform.realtime.peers.BEAT_S", 0.05)
    with ExitStack() as stack:
        bob = opened(stack, two[1])
        bob.join("room", presence={"enabled": True, "key": "bob"})
        told = {
            "kind": "track", "from": "dead", "members": [["room", False, "1", "ann", {"phx_ref": "1"}]]
        }  # fmt: skip
        db.execute("select pg_notify('picture_edge_broadcast', %s)", (json.dumps(told),))
        assert list(bob.until("presence_diff")["payload"]["joins"]) == ["ann"]
        monkeypatch.setattr("functions._platform.realtime.peers.DEAD_S", 0.0)
        met(stack, two[0], two[1])
        assert list(bob.until("presence_diff")["payload"]["leaves"]) == ["ann"]


@pytest.mark.parametrize(
    "told", ["", "x", "[]", "{}", '{"kind":"sent","from":"a"}', '{"kind":"stored","from":"b","id":"x"}']
)  # fmt: skip
def test_a_notification_that_is_none_of_ours_is_ignored(socket: Socket, db: Database, told: str):
    socket.join("room")
    db.execute("select pg_notify('picture_edge_broadcast', %s)", (told,))
    db.execute("select realtime.send('{\"id\": 1}', 'shout', 'room', false)")
    assert socket.websocket.recv(timeout=10)
    assert socket.silent()


@pytest.mark.parametrize("size", [1, 20_000])
def test_send_in_sql(open_socket: Callable[..., Socket], db: Database, size: int):
    new, old = open_socket(), open_socket("1.0.0")
    for socket in (new, old):
        socket.join("room")
    with db.transaction():
        db.execute(
            "select realtime.send(%s, 'shout', 'room', false)", (json.dumps({"a": "x" * size}),)
        )
        assert new.silent()
    row = db.execute("select id::text, private, event, payload from realtime.messages").fetchone()
    assert row
    payload = {"id": row["id"], "a": "x" * size}
    assert row["payload"] == payload
    meta = {"id": row["id"]}
    assert old.next()["payload"] == {
        "type": "broadcast", "event": "shout", "payload": payload, "meta": meta
    }  # fmt: skip
    frame = new.websocket.recv(timeout=10)
    assert isinstance(frame, bytes)
    told = json.dumps(meta, separators=(",", ":")).encode()
    head = bytes([4, 13, 5, len(told), 1]) + b"realtime:roomshout" + told
    assert frame[: len(head)] == head
    assert json.loads(frame[len(head) :]) == payload


def test_send_in_sql_is_private_unless_it_says_otherwise_and_asks_the_policies(
    open_socket: Callable[..., Socket], db: Database
):
    db.execute(
        "create policy r on realtime.messages for select to authenticated using (realtime.topic() = 'room');"
        "create policy w on realtime.messages for insert to authenticated with check (realtime.topic() = 'room')"
    )
    private, public = open_socket("1.0.0"), open_socket("1.0.0")
    private.join("room", token_of(ME), private=True)
    public.join("room")
    notices: list[str] = []
    db.add_notice_handler(lambda one: notices.append(one.message_primary or ""))
    with db.transaction():
        db.execute("set local role authenticated")
        db.execute("select realtime.send('{}', 'no', 'other')")
        db.execute("select realtime.send('{}', 'yes', 'room')")
    assert private.next()["payload"]["event"] == "yes"
    assert public.silent()
    [notice] = notices
    assert notice.startswith("WarnSendingBroadcastMessage: ")


def test_changes_broadcast_by_a_trigger(open_socket: Callable[..., Socket], db: Database):
    db.execute("create policy r on realtime.messages for select to authenticated using (true)")
    db.execute("""
        create table public.rooms (id int primary key, name text);
        create function public.tell() returns trigger language plpgsql security definer as $$
        begin
            perform realtime.broadcast_changes(
                'rooms', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
            return null;
        end $$;
        create trigger tell after insert or update or delete on public.rooms for each row execute function tell();
    """)
    socket = open_socket("1.0.0")
    socket.join("rooms", token_of(ME), private=True)
    db.execute("insert into rooms values (1, 'a')")
    db.execute("update rooms set name = 'b'")
    db.execute("delete from rooms")
    a, b = {"id": 1, "name": "a"}, {"id": 1, "name": "b"}
    for event, new, old in (("INSERT", a, None), ("UPDATE", b, a), ("DELETE", None, b)):
        told = socket.next()["payload"]
        assert told["event"] == event
        payload = told["payload"]
        assert (payload["record"], payload["old_record"]) == (new, old)
        assert (payload["operation"], payload["table"], payload["schema"]) == (
            event,
            "rooms",
            "public",
        )


def test_old_messages_are_deleted(start_edge: Callable[..., Edge], db: Database):
    db.execute("""
        insert into realtime.messages (topic, extension, event, payload, inserted_at) values
        ('a', 'broadcast', 'e', '{}', now() - interval '4 days'), ('b', 'broadcast', 'e', '{}', now())
    """)
    start_edge(SERVE="realtime")
    for _ in range(500):
        rows = db.execute("select topic, pg_sleep(0.01) from realtime.messages").fetchall()
        if len(rows) == 1:
            break
    assert [row["topic"] for row in rows] == ["b"]


def test_one_message_by_post(realtime: Edge, open_socket: Callable[..., Socket]):
    topic, event = "a/b ü:1", "e/1"
    new, old = open_socket(), open_socket("1.0.0")
    for socket in (new, old):
        socket.join(topic)
    url = f"{realtime.url}/realtime/v1/api/broadcast/{quote(topic, safe='')}/events/{quote(event, safe='')}"
    headers = {"apikey": realtime.anon_key}
    post = realtime.client.post
    assert post(url, json={"a": 1}, headers=headers).status_code == 202
    assert old.next()["payload"] == {"type": "broadcast", "event": event, "payload": {"a": 1}}
    assert new.websocket.recv(timeout=10).endswith(b'e/1{"a":1}')
    octets = {**headers, "content-type": "application/octet-stream"}
    assert post(url, content=b"\xff\0", headers=octets).status_code == 202
    assert new.websocket.recv(timeout=10).endswith(b"\xff\0")
    assert old.silent()
    assert post(url, content=b"{", headers=headers).status_code == 422
    assert post(url, data={"a": "b"}, headers=headers).status_code == 415
    assert post(f"{url}?private=true", json={}, headers=headers).status_code == 403
    assert post(url, json={}).status_code == 401
