"""What the connections of a process share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions._platform.realtime.changes.feed import Feed
from functions._platform.realtime.hub import Hub
from functions._platform.realtime.rates import Rate
from functions._shared.auth.authenticator import Authenticator
from functions._shared.database.pool import Pool
from functions._shared.settings import Settings

if TYPE_CHECKING:
    from functions._platform.realtime.channel import Channel


@dataclass(frozen=True)
class Realtime:
    settings: Settings
    pool: Pool
    auth: Authenticator
    hub: Hub
    feed: Feed
    joins: Rate

    def broadcast(
        self, topic: str, is_private: bool, sent: Any, besides: "Channel | None" = None
    ) -> None:
        """``sent``: a frame's payload, or a UserBroadcast. ``besides``: the sender, unless it asked for its own."""
        self.hub.broadcast(topic, is_private, sent, besides)

    def track(
        self, topic: str, is_private: bool, channel: "Channel", payload: dict[str, Any]
    ) -> None:
        self.hub.topic(topic, is_private).track(channel, payload)

    def untrack(self, topic: str, is_private: bool, channel: "Channel") -> None:
        self.hub.topic(topic, is_private).untrack(channel)

    def leave(self, topic: str, is_private: bool, channel: "Channel") -> None:
        self.untrack(topic, is_private, channel)
        self.hub.leave(topic, is_private, channel)
