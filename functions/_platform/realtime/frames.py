"""Frames of the Phoenix protocol: 1.0.0 (JSON objects), 2.0.0 (JSON arrays, and binary frames for broadcast)."""

import json
from dataclasses import dataclass
from typing import Any

V1, V2 = "1.0.0", "2.0.0"
USER_BROADCAST_PUSH, USER_BROADCAST = 3, 4
"""The first byte of a binary frame: a client's broadcast, and that of the server."""


class BadFrame(Exception):
    """A frame that is none of this protocol."""


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """The payload of a binary broadcast; ``metadata``: JSON, or nothing."""

    event: str
    is_json: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """``join_ref``: the ref of the join that the channel came to be by. ``payload``: JSON, or a UserBroadcast."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: Any


def dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def decode(data: str | bytes, version: str) -> Message:
    """Raises BadFrame."""
    try:
        if isinstance(data, bytes):
            return _decode_binary(data)
        found = json.loads(data)
        if version == V2:
            join_ref, ref, topic, event, payload = found[:5]
        else:
            join_ref, ref = found.get("join_ref"), found.get("ref")
            topic, event, payload = found["topic"], found["event"], found.get("payload")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise BadFrame from None
    if not isinstance(topic, str) or not isinstance(event, str):
        raise BadFrame
    return Message(_ref(join_ref), _ref(ref), topic, event, payload)


def _ref(value: object) -> str | None:
    return None if value is None else str(value)


def _decode_binary(data: bytes) -> Message:
    """kind, five lengths and the encoding, one byte each; then join_ref, ref, topic, event, metadata, payload."""
    if data[0] != USER_BROADCAST_PUSH:
        raise BadFrame
    sizes, is_json = data[1:6], data[6] == 1
    parts, at = [], 7
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    if at > len(data):
        raise BadFrame
    join_ref, ref, topic, event = (part.decode() for part in parts[:4])
    payload = UserBroadcast(event, is_json, data[at:])
    return Message(join_ref or None, ref or None, topic, "broadcast", payload)


def encode(version: str, message: Message) -> str:
    """A text frame."""
    return encode_json(version, message, dumps(message.payload))


def encode_json(version: str, message: Message, payload: str) -> str:
    """A text frame whose payload is JSON already; that of ``message`` is not looked at."""
    topic, event = dumps(message.topic), dumps(message.event)
    join_ref, ref = dumps(message.join_ref), dumps(message.ref)
    if version == V2:
        return f"[{join_ref},{ref},{topic},{event},{payload}]"
    joined = f',"join_ref":{join_ref}' if message.join_ref is not None else ""
    return f'{{"topic":{topic},"event":{event},"payload":{payload},"ref":{ref}{joined}}}'


def encode_broadcast(version: str, topic: str, sent: UserBroadcast) -> str | bytes | None:
    """A broadcast that arrived in a binary frame. None where the version cannot express it: bytes in 1.0.0."""
    if version == V2:
        name, event = topic.encode(), sent.event.encode()
        head = bytes([USER_BROADCAST, len(name), len(event), 0, int(sent.is_json)])
        return head + name + event + sent.payload
    if not sent.is_json:
        return None
    payload = (
        f'{{"type":"broadcast","event":{dumps(sent.event)},"payload":{sent.payload.decode()}}}'
    )
    return encode_json(version, Message(None, None, topic, "broadcast", None), payload)
