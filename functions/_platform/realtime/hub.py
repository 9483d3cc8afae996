"""The topics of a process: who has joined which, for broadcast and presence. Public and private are two topics."""

from typing import TYPE_CHECKING, Any

from functions._platform.realtime.frames import UserBroadcast
from functions._platform.realtime.presence import Diff, Presence

if TYPE_CHECKING:
    from functions._platform.realtime.channel import Channel


class Topic:
    def __init__(self) -> None:
        self.channels: set[Channel] = set()
        self.presence = Presence()

    def changed(self, diff: Diff | None) -> None:
        """Tell a change of presence to the channels that asked for it."""
        if diff:
            for channel in [*self.channels]:
                if channel.hears_presence:
                    channel.push("presence_diff", diff)


class Hub:
    def __init__(self) -> None:
        self._topics: dict[tuple[str, bool], Topic] = {}
        self.connections = 0

    def join(self, name: str, is_private: bool, channel: "Channel") -> Topic:
        topic = self._topics.setdefault((name, is_private), Topic())
        topic.channels.add(channel)
        return topic

    def leave(self, name: str, is_private: bool, channel: "Channel") -> None:
        topic = self._topics.get((name, is_private))
        if topic is None:
            return
        topic.channels.discard(channel)
        topic.changed(topic.presence.untrack(channel))
        if not topic.channels:
            del self._topics[name, is_private]

    def broadcast(
        self, name: str, is_private: bool, sent: Any, besides: "Channel | None" = None
    ) -> None:
        """``sent``: a frame's payload, or a UserBroadcast. ``besides``: the sender, unless it asked for its own."""
        topic = self._topics.get((name, is_private))
        for channel in [*topic.channels] if topic else []:
            if channel is not besides:
                if isinstance(sent, UserBroadcast):
                    channel.push_broadcast(sent)
                else:
                    channel.push("broadcast", sent)
