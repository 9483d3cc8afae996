"""postgres_changes over the wire: who hears of which row, and in what shape."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Database
from tests.functions._platform.realtime.conftest import ME, OTHER, Socket, binding, token_of


def test_reply_then_system_then_the_change(socket: Socket, notes: Callable[..., None]):
    asked = binding("INSERT", filter="id=eq.1")
    reply = socket.join("notes", token_of(ME), postgres_changes=[asked])
    assert reply["status"] == "ok", reply
    [echo] = reply["response"]["postgres_changes"]
    assert {name: echo[name] for name in asked} == asked
    assert echo["id"]
    assert socket.next()["payload"] == {
        "extension": "postgres_changes",
        "status": "ok",
        "message": "Subscribed to PostgreSQL",
        "channel": "notes",
    }
    notes(2)
    notes(
        1,
        tags=["a", 'b "c"'],
        done=True,
        score="1.50",
        at="2026-11-23 10:00:00.5+00",
        more='{"a": 1}',
    )
    frame = socket.next()
    assert (frame["event"], frame["topic"], frame["ref"]) == (
        "postgres_changes",
        "realtime:notes",
        None,
    )
    assert frame["payload"]["ids"] == [echo["id"]]
    data = frame["payload"]["data"]
    assert (data["schema"], data["table"], data["type"], data["errors"]) == (
        "public",
        "notes",
        "INSERT",
        None,
    )
    assert data["commit_timestamp"].endswith("Z")
    assert "old_record" not in data
    assert data["columns"][:4] == [
        {"name": "id", "type": "int8"},
        {"name": "owner", "type": "uuid"},
        {"name": "text", "type": "text"},
        {"name": "tags", "type": "_text"},
    ]
    assert data["record"] == {
        "id": 1,
        "owner": ME,
        "text": "hello",
        "tags": ["a", 'b "c"'],
        "done": True,
        "score": 1.5,
        "at": "2026-11-23T10:00:00.5+00:00",
        "more": {"a": 1},
    }


def test_the_older_frames_say_the_same(
    open_socket: Callable[..., Socket], notes: Callable[..., None]
):
    socket = open_socket("1.0.0")
    assert socket.join("notes", token_of(ME), postgres_changes=[binding()])["status"] == "ok"
    socket.until("system")
    notes(1)
    frame = socket.next()
    assert set(frame) == {"topic", "event", "payload", "ref"}
    assert frame["payload"]["data"]["record"]["id"] == 1


def test_another_user_and_nobody_hear_nothing(
    open_socket: Callable[..., Socket], notes: Callable[..., None]
):
    mine, others, nobodys = open_socket(), open_socket(), open_socket()
    for socket, token in ((mine, token_of(ME)), (others, token_of(OTHER)), (nobodys, None)):
        socket.join("notes", token, postgres_changes=[binding()])
        socket.until("system")
    notes(1)
    assert mine.next()["payload"]["data"]["record"]["id"] == 1
    assert others.silent()
    assert nobodys.silent()
    notes(2, OTHER)
    assert others.next()["payload"]["data"]["record"]["id"] == 2
    assert mine.silent()


def test_a_role_that_is_none_hears_nothing_and_disturbs_nobody(
    open_socket: Callable[..., Socket], notes: Callable[..., None]
):
    mine, nobodys = open_socket(), open_socket()
    for socket, token in ((nobodys, token_of(ME, role="absent")), (mine, token_of(ME))):
        socket.join("notes", token, postgres_changes=[binding()])
        socket.until("system")
    for number in (1, 2):
        notes(number)
        assert mine.next()["payload"]["data"]["record"]["id"] == number
    assert nobodys.silent()


def test_update_and_delete_have_the_key_of_the_old_row(
    socket: Socket, db: Database, notes: Callable[..., None]
):
    notes(1)
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    socket.until("system")
    db.execute("update notes set text = 'new'")
    data = socket.until("postgres_changes")["payload"]["data"]
    assert (data["type"], data["record"]["text"], data["old_record"]) == (
        "UPDATE",
        "new",
        {"id": 1},
    )
    db.execute("delete from notes")
    data = socket.next()["payload"]["data"]
    assert (data["type"], data["old_record"]) == ("DELETE", {"id": 1})
    assert "record" not in data


def test_a_long_value_that_did_not_change_is_whole(
    socket: Socket, db: Database, notes: Callable[..., None]
):
    db.execute("alter table notes alter column text set storage external")
    notes(1, text="x" * 20_000)
    socket.join("notes", token_of(ME), postgres_changes=[binding("UPDATE")])
    socket.until("system")
    db.execute("update notes set done = true")
    assert socket.next()["payload"]["data"]["record"]["text"] == "x" * 20_000


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("id=eq.2", [2]),
        ("id=neq.2", [1, 3]),
        ("id=not.eq.2", [1, 3]),
        ("id=lt.2", [1]),
        ("id=lte.2", [1, 2]),
        ("id=gt.2", [3]),
        ("id=gte.2", [2, 3]),
        ("id=in.(1,3)", [1, 3]),
        ("id=not.in.(1,3)", [2]),
        ("text=like.b%", [2]),
        ("text=ilike.B%", [2]),
        ("text=match.^[ab]", [1, 2]),
        ("text=imatch.^[AB]", [1, 2]),
        ("done=is.null", [3]),
        ("done=is.true", [1]),
        ("done=not.is.null", [1, 2]),
        ("done=isdistinct.true", [2, 3]),
        ("score=eq.1.0", [1]),
        ("id=gt.1,text=like.b%", [2]),
        ("text=eq.b\\", []),
        ("", [1, 2, 3]),
    ],
)
def test_filters(socket: Socket, notes: Callable[..., None], text: str, hits: list[int]):
    reply = socket.join(
        "notes", token_of(ME), postgres_changes=[binding(filter=text), binding(filter="id=eq.9")]
    )
    assert [one["filter"] for one in reply["response"]["postgres_changes"]] == [text, "id=eq.9"]
    assert socket.until("system")["payload"]["status"] == "ok"
    notes(1, text="a", done=True, score="1.00")
    notes(2, text="b", done=False, score="2")
    notes(3, text="c")
    notes(9)
    heard = []
    while 9 not in heard:
        heard.append(socket.next()["payload"]["data"]["record"]["id"])
    assert [number for number in heard if number != 9] == hits


@pytest.mark.parametrize(
    "asked",
    [
        {"event": "*", "schema": "public", "table": "absent"},
        {"event": "*", "schema": "public", "table": "notes", "filter": "absent=eq.1"},
        {"event": "*", "schema": "public", "table": "notes", "filter": "id=eq.x"},
        {"event": "*", "schema": "public", "table": "notes", "filter": "id=like.x"},
        {"event": "*", "schema": "public", "table": "notes", "filter": "id=near.1"},
        {"event": "*", "schema": "public", "table": "notes", "filter": "undefined"},
    ],
)
def test_a_bad_binding_is_told_by_system(socket: Socket, notes: Callable[..., None], asked: Any):
    reply = socket.join("notes", token_of(ME), postgres_changes=[asked])
    assert reply["status"] == "ok"
    told = socket.next()["payload"]
    assert (told["extension"], told["status"]) == ("postgres_changes", "error")
    assert told["message"]


def test_all_tables_of_a_schema(socket: Socket, notes: Callable[..., None]):
    socket.join("all", token_of(ME), postgres_changes=[{"event": "*", "schema": "public"}])
    socket.until("system")
    notes(1)
    assert socket.next()["payload"]["data"]["table"] == "notes"


def test_columns_without_the_right_are_not_shown(
    socket: Socket, db: Database, notes: Callable[..., None]
):
    db.execute("revoke select on notes from authenticated")
    db.execute("grant select (id, owner) on notes to authenticated")
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    socket.until("system")
    notes(1)
    assert socket.next()["payload"]["data"]["record"] == {"id": 1, "owner": ME}


def test_a_burst_is_whole_and_in_order(socket: Socket, db: Database, notes: Callable[..., None]):
    notes(1)
    socket.join("notes", token_of(ME), postgres_changes=[binding("UPDATE")])
    socket.until("system")
    db.execute("do $$ begin for i in 1..3000 loop update notes set score = i; end loop; end $$")
    heard = [socket.next()["payload"]["data"]["record"]["score"] for _ in range(3000)]
    assert heard == [*range(1, 3001)]


def test_the_slot_goes_with_the_gateway(socket: Socket, db: Database, notes: Callable[..., None]):
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    slots = db.execute(
        "select temporary from pg_replication_slots where database = current_database()"
    )
    assert slots.fetchall() == [{"temporary": True}]


def test_a_lost_stream_is_told_and_opened_again(
    socket: Socket, db: Database, notes: Callable[..., None]
):
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    socket.until("system")
    db.execute(
        "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()"
    )
    assert socket.next()["payload"]["status"] == "error"
    assert socket.next()["payload"]["message"] == "Subscribed to PostgreSQL"
    notes(1)
    assert socket.next()["payload"]["data"]["record"]["id"] == 1


def test_a_renewed_token_is_the_one_that_rows_are_looked_for_with(
    socket: Socket, notes: Callable[..., None]
):
    socket.join("notes", token_of(OTHER), postgres_changes=[binding()])
    socket.until("system")
    socket.send("realtime:notes", "access_token", {"access_token": token_of(ME)})
    assert socket.silent()
    notes(1, OTHER)
    notes(2)
    assert socket.next()["payload"]["data"]["record"]["id"] == 2
