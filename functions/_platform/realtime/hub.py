"""The topics of a process: who has joined which, for broadcast and presence. Public and private are two topics.

A frame is encoded once for all channels of a topic and version: its receivers cost no more than a reference.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from functions._platform.realtime.frames import (
    Message,
    UserBroadcast,
    dumps,
    encode_broadcast,
    encode_json,
)
from functions._platform.realtime.presence import Member, Presence

if TYPE_CHECKING:
    from functions._platform.realtime.channel import Channel

GATHER_S = 0.02
"""Least time between two ``presence_diff``: changes meanwhile are gathered (throttling, the first goes at once)."""


class Topic:
    def __init__(self, name: str) -> None:
        self.channels: set[Channel] = set()
        self.presence = Presence()
        self._name = f"realtime:{name}"
        self._gathering: asyncio.TimerHandle | None = None
        self._told_at = 0.0

    def track(self, member: Member, payload: dict[str, Any]) -> bool:
        """Whether it changed anything."""
        return self._changed(self.presence.track(member, payload))

    def place(self, member: Member, meta: dict[str, Any]) -> None:
        """A member of another process: its meta has its ``phx_ref`` already."""
        self._changed(self.presence.place(member, meta))

    def untrack(self, member: Member) -> bool:
        """Whether it was there."""
        return self._changed(self.presence.untrack(member))

    def _changed(self, is_new: bool) -> bool:
        if is_new and self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_at(max(loop.time(), self._told_at + GATHER_S), self._tell)
        return is_new

    def _tell(self) -> None:
        self._gathering = None
        self._told_at = asyncio.get_running_loop().time()
        self._push("presence", "presence_diff", dumps(self.presence.taken()), None)

    def broadcast(self, sent: Any, besides: "Channel | None") -> None:
        """``sent``: a frame's payload, or a UserBroadcast."""
        if not isinstance(sent, UserBroadcast):
            self._push("broadcast", "broadcast", dumps(sent), besides)
            return
        frames: dict[str, str | bytes | None] = {}
        for channel in self._hearing("broadcast", besides):
            if channel.version not in frames:
                frames[channel.version] = encode_broadcast(channel.version, self._name, sent)
            frame = frames[channel.version]
            if frame is not None:
                channel.send(frame)

    def _push(self, extension: str, event: str, payload: str, besides: "Channel | None") -> None:
        frames: dict[str, str] = {}
        message = Message(None, None, self._name, event, None)
        for channel in self._hearing(extension, besides):
            if channel.version not in frames:
                frames[channel.version] = encode_json(channel.version, message, payload)
            channel.send(frames[channel.version])

    def _hearing(self, extension: str, besides: "Channel | None") -> "list[Channel]":
        return [one for one in self.channels if one is not besides and one.hears(extension)]


class Hub:
    def __init__(self) -> None:
        self._topics: dict[tuple[str, bool], Topic] = {}
        self.connections = 0

    def topic(self, name: str, is_private: bool) -> Topic:
        """Made where there is none; ``drop_unused`` is to be called when it may be empty again."""
        key = name, is_private
        if key not in self._topics:
            self._topics[key] = Topic(name)
        return self._topics[key]

    @property
    def topics(self) -> list[tuple[str, bool, Topic]]:
        return [(*key, topic) for key, topic in self._topics.items()]

    def join(self, name: str, is_private: bool, channel: "Channel") -> Topic:
        topic = self.topic(name, is_private)
        topic.channels.add(channel)
        return topic

    def leave(self, name: str, is_private: bool, channel: "Channel") -> None:
        topic = self._topics.get((name, is_private))
        if topic:
            topic.channels.discard(channel)
            topic.untrack(channel)
            self.drop_unused(name, is_private)

    def drop_unused(self, name: str, is_private: bool) -> None:
        topic = self._topics.get((name, is_private))
        if topic and not topic.channels and not topic.presence.members:
            del self._topics[name, is_private]

    def broadcast(
        self, name: str, is_private: bool, sent: Any, besides: "Channel | None" = None
    ) -> None:
        """``besides``: the sender, unless it asked for its own."""
        topic = self._topics.get((name, is_private))
        if topic:
            topic.broadcast(sent, besides)
