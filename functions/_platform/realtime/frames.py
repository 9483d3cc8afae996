"""Frames of the Phoenix protocol: 1.0.0 (JSON objects), 2.0.0 (JSON arrays, and binary frames for broadcast)."""

import json
import re
from dataclasses import dataclass
from typing import Any

V1, V2 = "1.0.0", "2.0.0"
USER_BROADCAST_PUSH, USER_BROADCAST = 3, 4
"""The first byte of a binary frame: a client's broadcast, and that of the server."""
MAX_FIELD = 255
"""Bytes of a field of a binary frame: its length is one byte."""
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class BadFrame(Exception):
    """A frame that is none of this protocol."""


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """The payload of a binary broadcast. ``is_json``: ``payload`` is a valid JSON text. ``meta``: JSON, or empty."""

    event: str
    is_json: bool
    payload: bytes
    meta: str = ""


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


def loads(text: str) -> Any:
    """Strict JSON (RFC 8259). Raises ValueError, RecursionError.

    Python's parser takes more: NaN, numbers beyond a double, lone surrogates. Sent on to the receivers of a broadcast
    they would break each of their connections (poison message).
    """
    found = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    if ESCAPED_SURROGATE.search(text):
        dumps(found).encode()
    return found


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError(text)
    return value


def decode(data: str | bytes, version: str) -> Message:
    """Raises BadFrame."""
    try:
        if isinstance(data, bytes):
            return _decode_binary(data)
        found = loads(data)
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
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    raise BadFrame


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
    if is_json:  # it becomes a part of text frames: anything else could forge their other fields (frame injection)
        loads(data[at:].decode())
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
    fields = topic.encode(), sent.event.encode(), sent.meta.encode()
    if version == V2 and max(map(len, fields)) <= MAX_FIELD:
        head = bytes([USER_BROADCAST, *map(len, fields), int(sent.is_json)])
        return head + b"".join(fields) + sent.payload
    if not sent.is_json:
        return None
    meta = f',"meta":{sent.meta}' if sent.meta else ""
    payload = f'{{"type":"broadcast","event":{dumps(sent.event)},"payload":{sent.payload.decode()}{meta}}}'
    return encode_json(version, Message(None, None, topic, "broadcast", None), payload)
