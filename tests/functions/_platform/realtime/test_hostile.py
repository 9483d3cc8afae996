"""Hostile clients: a frame or a filter harms its sender at most, never the others."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import Database, Edge
from tests.functions._platform.realtime.conftest import ME, Socket, binding, token_of

HEARTBEAT = '[null,"9","phoenix","heartbeat",{}]'


def push(payload: str) -> str:
    return f'["1","5","realtime:room","broadcast",{{"type":"broadcast","event":"x","payload":{payload}}}]'


def binary(payload: bytes, event: bytes = b"x") -> bytes:
    return bytes([3, 1, 1, 13, len(event), 0, 1]) + b"15realtime:room" + event + payload


FORGED = b'{}},"topic":"realtime:room","event":"system","payload":{"a":1'
POISON = {
    "a lone surrogate": push(r'"\ud800"'),
    "a lone surrogate in a key": push(r'{"\uDFFF":1}'),
    "NaN": push("NaN"),
    "infinity": push("-Infinity"),
    "a number beyond a double": push("1e999"),
    "an integer of 5,000 digits": push("9" * 5000),
    "deep": push("[" * 100_000 + "]" * 100_000),
    "no JSON": "{",
    "a scalar": "1",
    "a short array": "[1,2]",
    "an object for a ref": '[{"a":1},{"b":2},"phoenix","heartbeat",{}]',
    "an unknown kind": b"\x09\x00",
    "an empty frame": b"",
    "lengths beyond the frame": bytes([3, 255, 255, 255, 255, 255, 1]) + b"x",
    "no UTF-8": binary(b"{}", b"\xff"),
    "no JSON in a binary frame": binary(b"\xff"),
    "forged fields": binary(FORGED),
}


@pytest.mark.parametrize("frame", POISON.values(), ids=POISON)
def test_a_poison_frame_closes_its_sender_alone(
    open_socket: Callable[..., Socket], frame: str | bytes, caplog: pytest.LogCaptureFixture
):
    sender, new, old = open_socket(), open_socket(), open_socket("1.0.0")
    for socket in (sender, new, old):
        socket.join("room")
    sender.websocket.send(frame)
    with pytest.raises(ConnectionClosed, match="1008"):
        sender.next()
    assert new.silent()
    assert old.silent()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_valid_texts_are_passed_on(open_socket: Callable[..., Socket]):
    sender, new, old = open_socket(), open_socket(), open_socket("1.0.0")
    for socket in (sender, new, old):
        socket.join("room")
    for payload in (r'"😀\u0000\u2028"', "[" * 200 + "]" * 200, "1.5e300"):
        sender.websocket.send(push(payload))
        for socket in (new, old):
            assert socket.next()["payload"]["payload"] == json.loads(payload)


FILTERS = {
    "is true of a number": "id=is.true",
    "too many values": f"id=in.({','.join(map(str, range(101)))})",
    "10,000 values": f"id=in.({','.join(map(str, range(10_000)))})",
    "an injection in the value": "text=eq.'; drop table notes; --",
    "an injection in the column": 'text"; drop table notes; --=eq.x',
    "an injection in the array": "id=in.(1}'); drop table notes; --)",
    "NUL": "text=eq.a\0b",
    "a surrogate": "text=eq.\ud800",
    "no pattern": "text=match.(",
    "a system column": "ctid=eq.(0,1)",
}


@pytest.mark.parametrize("text", FILTERS.values(), ids=FILTERS)
def test_a_hostile_filter_disturbs_nobody(
    open_socket: Callable[..., Socket], notes: Callable[..., None], text: str
):
    hostile, other = open_socket(), open_socket()
    other.join("notes", token_of(ME), postgres_changes=[binding()])
    other.until("system")
    try:
        hostile.join("notes", token_of(ME), postgres_changes=[binding(filter=text)])
        told = hostile.until("system")["payload"]
        assert (told["status"] == "error") == (text != FILTERS["an injection in the value"])
    except ConnectionClosed:
        assert text == FILTERS["a surrogate"]
    for number in (1, 2):
        notes(number)
        assert other.next()["payload"]["data"]["record"]["id"] == number


def test_the_messages_of_refused_filters(socket: Socket, notes: Callable[..., None]):
    for text, message in (
        ("id=is.true", "is true filter requires a boolean column, got bigint"),
        (FILTERS["too many values"], "too many values for `in` filter. Maximum 100"),
        ("id=like.1", "operator like requires a text-compatible column type, got bigint"),
        (
            "text=match.(",
            "invalid regular expression for match filter: invalid regular expression: parentheses () not balanced",
        ),
        ("id=eq.x", 'invalid input syntax for type bigint: "x"'),
    ):
        socket.join("notes", token_of(ME), postgres_changes=[binding(filter=text)])
        assert socket.until("system")["payload"]["message"].endswith(f"Exception: {message}")


def test_a_pattern_that_backtracks_without_end_disturbs_nobody(
    open_socket: Callable[..., Socket], notes: Callable[..., None]
):
    hostile, other = open_socket(), open_socket()
    slow = r"text=match.^(.+)(.+)(.+)\3\2\1$"
    for socket, asked in ((hostile, binding(filter=slow)), (other, binding())):
        socket.join("notes", token_of(ME), postgres_changes=[asked])
        assert socket.until("system")["payload"]["status"] == "ok"
    notes(1, text="ab" * 300 + "c")
    notes(2)
    assert other.next()["payload"]["data"]["record"]["id"] == 1
    assert other.next()["payload"]["data"]["record"]["id"] == 2


@pytest.mark.parametrize(
    "realtime",
    [{"REALTIME_MAX_JOINS_PER_SECOND": "20", "REALTIME_MAX_CHANNELS_PER_CLIENT": "5"}],
    indirect=True,
)
def test_one_client_does_not_use_up_the_joins_of_all(open_socket: Callable[..., Socket]):
    flooding, other = open_socket(), open_socket()
    for _ in range(500):
        payload: dict[str, Any] = {"config": {}}
        flooding.send("realtime:same", "phx_join", payload)
    ref = flooding.send("phoenix", "heartbeat", {})
    while flooding.next()["ref"] != ref:
        pass
    assert other.join("room")["status"] == "ok"


def test_a_failing_pool_delays_changes_but_loses_none(
    socket: Socket, notes: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    """As under load, when no connection is free in time."""
    from psycopg_pool import PoolTimeout

    from functions._platform.realtime.changes import delivery

    failures = [PoolTimeout("no connection"), PoolTimeout("no connection")]
    answers = delivery.answers

    async def failing(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await answers(*arguments)

    monkeypatch.setattr(delivery, "answers", failing)
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    socket.until("system")
    notes(1)
    assert socket.next()["payload"]["data"]["record"]["id"] == 1
    assert not failures


def test_ddl_between_changes(
    socket: Socket, db: Database, notes: Callable[..., None], realtime: Edge
):
    """In one transaction, so that all of it is decoded with a catalogue of later."""
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    socket.until("system")
    db.execute(
        "begin; insert into notes (id, owner, text, score) values (1, '%s', 'no json', 7);"  # noqa: UP031
        " alter table notes add column extra int default 5;"
        " alter table notes alter column text type jsonb using '{}';"
        " alter table notes alter column score type text[] using array[score];"
        " alter table notes drop column tags;"
        " alter table notes rename column done to finished;"
        " insert into notes (id, owner, text, finished) values (2, '%s', '{\"a\": 1}', true);"
        " commit" % (ME, ME)
    )
    first, second = socket.next(), socket.next()
    record = first["payload"]["data"]["record"]
    assert (record["id"], record["text"]) == (1, "no json")
    assert record["score"] in ("7", 7)  # a number while the table of before is still known
    record = second["payload"]["data"]["record"]
    assert (record["text"], record["extra"], record["finished"]) == ({"a": 1}, 5, True)
    db.execute("truncate notes")
    db.execute("drop table notes")
    assert socket.silent()
