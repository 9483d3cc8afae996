"""Handshake, tokens, broadcast, presence, private channels and limits, over a bare websocket."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from functions._local.defaults import PUBLISHABLE_KEY
from tests.conftest import Database, Edge, user_token
from tests.functions._platform.realtime.conftest import Socket


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("", "API key is missing"),
        ("x.y.z", "The token provided is not a valid JWT"),
        (user_token(secret="x" * 40), "Failed to validate JWT signature"),
        (user_token(exp=1), "Token has expired"),
        (user_token(exp=None), "Fields `role` and `exp` are required in JWT"),
    ],
)
def test_a_handshake_is_refused_with_its_reason(realtime: Edge, key: str, error: str):
    url = f"{realtime.url.replace('http', 'ws')}/realtime/v1/websocket?apikey={key}"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == 401
    assert f'{{"error":"{error}"}}'.encode() == refused.value.response.body


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_heartbeat_join_and_leave(open_socket: Callable[..., Socket], version: str):
    socket = open_socket(version, PUBLISHABLE_KEY)
    ref = socket.send("phoenix", "heartbeat", {})
    beat = socket.next()
    assert (beat["topic"], beat["event"], beat["ref"]) == ("phoenix", "phx_reply", ref)
    assert beat["payload"] == {"status": "ok", "response": {}}
    reply = socket.join("room")
    assert reply == {"status": "ok", "response": {"postgres_changes": []}}
    ref = socket.send("realtime:room", "phx_leave", {})
    left, closed = socket.next(), socket.next()
    assert (left["event"], left["ref"]) == ("phx_reply", ref)
    assert (closed["event"], closed["payload"]) == ("phx_close", {})


def test_an_expired_token_refuses_a_join_and_closes_a_channel(socket: Socket):
    reply = socket.join("room", user_token(exp=int(time.time()) - 5))
    assert reply["response"]["reason"].startswith(
        "InvalidJWTToken: Token has expired 5 seconds ago"
    )
    assert socket.join("room", user_token(exp=int(time.time()) + 1))["status"] == "ok"
    told, closed = socket.next(), socket.next()
    assert told["payload"]["status"] == "error"
    assert told["payload"]["message"].startswith("Token has expired")
    assert closed["event"] == "phx_close"


def test_a_renewed_token_keeps_the_channel_open(socket: Socket):
    socket.join("room", user_token(exp=int(time.time()) + 1))
    socket.send("realtime:room", "access_token", {"access_token": user_token()})
    socket.send("realtime:room", "access_token", {"access_token": None})
    socket.send("realtime:room", "access_token", {"access_token": "sb_publishable_x"})
    assert socket.silent()
    socket.send("realtime:room", "access_token", {"access_token": user_token(exp=1)})
    assert socket.next()["event"] == "system"
    assert socket.next()["event"] == "phx_close"


def test_broadcast_reaches_the_others_in_their_frames(open_socket: Callable[..., Socket]):
    one, two, old = open_socket(), open_socket(), open_socket("1.0.0")
    for socket in (one, two, old):
        socket.join("room", broadcast={"ack": socket is one, "self": False})
    sent = {"type": "broadcast", "event": "shout", "payload": {"a": 1}}
    ref = one.send("realtime:room", "broadcast", sent)
    reply = one.next()
    assert (reply["ref"], reply["payload"]["status"]) == (ref, "ok")
    assert two.next()["payload"] == old.next()["payload"] == sent
    frame = bytes([3, 1, 1, 13, 5, 0, 1]) + b"19realtime:roomshout" + b'{"a":2}'
    one.websocket.send(frame)
    one.next()
    assert two.websocket.recv(timeout=10) == bytes([4, 13, 5, 0, 1]) + b'realtime:roomshout{"a":2}'
    assert old.next()["payload"] == {**sent, "payload": {"a": 2}}


def test_broadcast_by_post(realtime: Edge, socket: Socket):
    socket.join("room")
    url = f"{realtime.url}/realtime/v1/api/broadcast"
    message = {"topic": "room", "event": "shout", "payload": {"a": 1}, "private": False}
    headers = {"apikey": realtime.anon_key}
    answer = realtime.client.post(url, json={"messages": [message]}, headers=headers)
    assert (answer.status_code, answer.content) == (202, b"")
    assert socket.next()["payload"] == {"type": "broadcast", "event": "shout", "payload": {"a": 1}}
    assert realtime.client.post(url, json={"messages": [message]}).status_code == 401
    assert realtime.client.post(url, json={"messages": [{}]}, headers=headers).status_code == 422


def test_presence_state_joins_and_leaves(open_socket: Callable[..., Socket]):
    one, two = open_socket(), open_socket()
    for socket, key in ((one, "ann"), (two, "bob")):
        socket.join("room", presence={"key": key, "enabled": True})
        assert socket.next()["event"] == "presence_state"
    one.send(
        "realtime:room", "presence", {"type": "presence", "event": "track", "payload": {"n": 1}}
    )
    diff = two.until("presence_diff")["payload"]
    assert diff["leaves"] == {}
    assert diff["joins"]["ann"]["metas"][0]["n"] == 1
    three = open_socket()
    three.join("room", presence={"key": "eve", "enabled": True})
    assert list(three.next()["payload"]) == ["ann"]
    one.websocket.close()
    assert list(two.until("presence_diff")["payload"]["leaves"]) == ["ann"]


POLICIES = """
create policy readers on realtime.messages for select to authenticated
using (realtime.topic() = 'room' and (current_setting('request.jwt.claims')::jsonb ->> 'reads')::boolean);
create policy writers on realtime.messages for insert to authenticated
with check (realtime.topic() = 'room' and (current_setting('request.jwt.claims')::jsonb ->> 'writes')::boolean);
"""


def test_private_channels_are_for_those_whom_the_policies_let(
    open_socket: Callable[..., Socket], db: Database
):
    db.execute(POLICIES.encode())
    reader, writer, nobody = open_socket(), open_socket(), open_socket()
    assert reader.join("room", user_token(reads=True), private=True)["status"] == "ok"
    assert writer.join("room", user_token(reads=True, writes=True), private=True)["status"] == "ok"
    refused = nobody.join("room", user_token(), private=True)["response"]["reason"]
    assert (
        refused == "Unauthorized: You do not have permissions to read from this Channel topic: room"
    )
    sent = {"type": "broadcast", "event": "shout", "payload": {}}
    reader.send("realtime:room", "broadcast", sent)
    assert reader.silent()
    assert writer.silent()
    writer.send("realtime:room", "broadcast", sent)
    assert reader.next()["payload"] == sent
    assert db.execute("select count(*) as n from realtime.messages").fetchone() == {"n": 0}


@pytest.fixture
def limited(start_edge: Callable[..., Edge]) -> Iterator[Callable[..., Socket]]:
    with ExitStack() as stack:

        def opened(**settings: str) -> Socket:
            edge = start_edge(SERVE="realtime", **settings)
            url = f"{edge.url.replace('http', 'ws')}/realtime/v1/websocket"
            return Socket(
                stack.enter_context(connect(f"{url}?apikey={edge.anon_key}&vsn=2.0.0")), "2.0.0"
            )

        yield opened


def test_channels_of_a_connection_are_limited(limited: Callable[..., Socket]):
    socket = limited(REALTIME_MAX_CHANNELS_PER_CLIENT="1")
    socket.join("one")
    reply = socket.join("two")
    assert reply["response"] == {"reason": "ChannelRateLimitReached: Too many channels"}


def test_joins_are_limited(limited: Callable[..., Socket]):
    socket = limited(REALTIME_MAX_JOINS_PER_SECOND="1")
    socket.join("one")
    reply = socket.join("two")
    assert reply["response"] == {"reason": "ClientJoinRateLimitReached: Too many joins per second"}


def test_a_message_is_limited_in_size(limited: Callable[..., Socket]):
    socket = limited(REALTIME_MAX_PAYLOAD_KB="1")
    socket.send("phoenix", "heartbeat", {"x": "x" * 2000})
    with pytest.raises(Exception, match="1009"):
        socket.next()


def test_a_connection_with_too_much_unsent_is_closed(limited: Callable[..., Socket]):
    socket = limited(REALTIME_MAX_BUFFER_KB="1")
    socket.join("room", broadcast={"self": True})
    payload = {"type": "broadcast", "event": "x", "payload": "x" * 2000}
    socket.send("realtime:room", "broadcast", payload)
    with pytest.raises(Exception, match="slow consumer"):
        socket.next()
