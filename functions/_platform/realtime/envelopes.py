"""What processes tell each other (``peers.py``), as JSON."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions._platform.realtime.frames import UserBroadcast, dumps
from functions._platform.realtime.hub import Hub
from functions._platform.realtime.presence import Member


@dataclass(eq=False)
class Remote:
    """A channel of another process that is present in a topic."""

    topic: str
    is_private: bool
    presence_key: str


def sent_of(sent: Any) -> dict[str, Any]:
    """A frame's payload, or a UserBroadcast; ``broadcast_of`` is the inverse."""
    if not isinstance(sent, UserBroadcast):
        return {"payload": sent}
    data = base64.b64encode(sent.payload).decode()
    return {"event": sent.event, "is_json": sent.is_json, "data": data}


def broadcast_of(told: Mapping[str, Any]) -> Any:
    if "payload" in told:
        return told["payload"]
    return UserBroadcast(told["event"], told["is_json"], base64.b64decode(told["data"]))


def message_of(row: Mapping[str, Any]) -> UserBroadcast:
    """A row of realtime.messages, as Supabase sends it: with its id."""
    payload = dumps(row["payload"]).encode()
    return UserBroadcast(row["event"], True, payload, dumps({"id": row["id"]}))


def members_of(hub: Hub, numbers: Mapping[Member, str]) -> list[list[Any]]:
    """The members that have numbers: those of this process. Each: topic, is_private, number, key, meta."""
    return [
        [topic, is_private, numbers[member], member.presence_key, found.presence.meta_of(member)]
        for topic, is_private, found in hub.topics
        for member in found.presence.members
        if member in numbers
    ]
