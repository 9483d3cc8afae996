"""What the connections of a process share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions._platform.realtime.buffers import Buffers
from functions._platform.realtime.changes.feed import Feed
from functions._platform.realtime.hub import Hub
from functions._platform.realtime.peers import Peers
from functions._platform.realtime.rates import Rate
from functions._shared.auth.authenticator import Authenticator
from functions._shared.database.pool import Pool
from functions._shared.settings import Settings

if TYPE_CHECKING:
    from functions._platform.realtime.channel import Channel


@dataclass(frozen=True)
class Realtime:
    """Broadcast and presence go to the channels here at once, and to the other processes by ``peers``."""

    settings: Settings
    pool: Pool
    auth: Authenticator
    hub: Hub
    feed: Feed
    joins: Rate
    peers: Peers
    buffers: Buffers

    def broadcast(
        self, topic: str, is_private: bool, sent: Any, besides: "Channel | None" = None
    ) -> None:
        """``sent``: a frame's payload, or a UserBroadcast. ``besides``: the sender, unless it asked for its own."""
        self.hub.broadcast(topic, is_private, sent, besides)
        self.peers.broadcast(topic, is_private, sent)

    def track(
        self, topic: str, is_private: bool, channel: "Channel", payload: dict[str, Any]
    ) -> None:
        joined = self.hub.topic(topic, is_private)
        if joined.track(channel, payload):
            self.peers.tracked(topic, is_private, channel, joined.presence.meta_of(channel))

    def untrack(self, topic: str, is_private: bool, channel: "Channel") -> None:
        if self.hub.topic(topic, is_private).untrack(channel):
            self.peers.untracked(topic, is_private, channel)

    def leave(self, topic: str, is_private: bool, channel: "Channel") -> None:
        self.untrack(topic, is_private, channel)
        self.hub.leave(topic, is_private, channel)
