"""One joined channel of a connection: its configuration, its token, what arrives for it and what it sends."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from functions._platform.realtime import authorization
from functions._platform.realtime.access import Access, Refused, access_of, check_expiry
from functions._platform.realtime.changes.feed import SUBSCRIBED, Unavailable
from functions._platform.realtime.changes.filters import BadBinding, parse_binding
from functions._platform.realtime.changes.subscriptions import Subscriber
from functions._platform.realtime.frames import Message, dumps, encode_json

if TYPE_CHECKING:
    from functions._platform.realtime.connection import Connection
    from functions._platform.realtime.hub import Topic

log = logging.getLogger(__name__)

CONFIRM_S = 300.0
"""How often a token is looked at again, if it does not expire before."""
NO_DATABASE = "UnableToConnectToProject: Realtime was unable to connect to the project database"
ECHOED = ("event", "schema", "table", "filter")
PLACE = "\0"
"""Stands for a change, whose text is shared by all frames that have it: no JSON text has a NUL."""


class JoinError(Exception):
    """The text is the reason in the reply."""


@dataclass(frozen=True)
class Config:
    """What a client asked for in its join."""

    acks: bool
    hears_itself: bool
    presence_key: str
    presence: bool
    is_private: bool
    bindings: tuple[Any, ...]


def config_of(payload: Any) -> Config:
    config = _object(_object(payload).get("config"))
    broadcast, presence = _object(config.get("broadcast")), _object(config.get("presence"))
    bindings = config.get("postgres_changes")
    return Config(
        acks=_flag(broadcast.get("ack")),
        hears_itself=_flag(broadcast.get("self")),
        presence_key=str(presence.get("key") or uuid4()),
        # Clients from before there was the switch send no "enabled", and expect presence.
        presence=presence.get("enabled", "key" in presence) is not False,
        is_private=_flag(config.get("private")),
        bindings=tuple(one for one in bindings if one) if isinstance(bindings, list) else (),
    )


def _flag(value: object) -> bool:
    """Booleans may be texts, as to Supabase: a private channel is never public by mistake."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class Channel:
    """``name``: the topic without its prefix ``realtime:``."""

    def __init__(
        self, connection: "Connection", join: Message, config: Config, access: Access, token: str
    ) -> None:
        self._connection = connection
        self._realtime = connection.realtime
        self._token = token
        self._timer: asyncio.TimerHandle | None = None
        self._may_write: dict[str, bool] = {}
        self._readable = authorization.NOBODY
        self._topic: Topic | None = None
        self.topic = join.topic
        self.name = join.topic.removeprefix("realtime:")
        self.join_ref = join.join_ref or join.ref
        self.config = config
        self.hears_presence = config.presence
        self._subscriber = Subscriber(access, self._changed, self._told)
        changes = Message(None, None, self.topic, "postgres_changes", None)
        self._around = encode_json(self.version, changes, f"{PLACE}}}").split(PLACE)

    @property
    def presence_key(self) -> str:
        return self.config.presence_key

    @property
    def version(self) -> str:
        return self._connection.version

    def hears(self, extension: str) -> bool:
        """Whether frames of ``broadcast`` or ``presence`` are for this channel."""
        if extension == "presence" and not self.hears_presence:
            return False
        return not self.config.is_private or extension in self._readable

    @property
    def access(self) -> Access:
        return self._subscriber.access

    async def open(self, join: Message) -> None:
        """Subscribe first, then reply, then say so: no change after the reply is missed. Raises JoinError."""
        ids = [self._realtime.feed.new_id() for _ in self.config.bindings]
        problem = await self._subscribe(ids)
        bound = [
            {
                "id": number,
                **{name: asked[name] for name in asked if name in ECHOED or name == "select"},
            }
            for number, asked in zip(ids, self.config.bindings, strict=True)
        ]
        await self._realtime.peers.ready()
        # Not before the policies have let it in: a broadcast may come while they are asked.
        self._topic = self._realtime.hub.join(self.name, self.config.is_private, self)
        self._connection.reply(join, "ok", {"postgres_changes": bound})
        self._set_timer()
        if problem:
            self._told("error", problem)
        elif ids:
            self._told("ok", SUBSCRIBED)
        if self.config.presence and self.hears("presence"):
            self._push("presence_state", self._topic.presence.state())

    async def authorise(self) -> None:
        """Raises JoinError where the channel is private and the caller may not read it."""
        if not self.config.is_private:
            return
        self._readable = await self._may_read()
        if not self._readable:
            raise JoinError(f"Unauthorized: {self._unreadable}")

    @property
    def _unreadable(self) -> str:
        return f"You do not have permissions to read from this Channel topic: {self.name}"

    async def _may_read(self) -> frozenset[authorization.Extension]:
        try:
            return await authorization.readable(self._realtime.pool, self.access, self.name)
        except psycopg.OperationalError:
            raise JoinError(NO_DATABASE) from None

    async def _subscribe(self, ids: list[int]) -> str | None:
        """What is wrong with the bindings, in words."""
        if not ids:
            return None
        try:
            bindings = [
                (number, parse_binding(asked))
                for number, asked in zip(ids, self.config.bindings, strict=True)
            ]
            await self._realtime.feed.subscribe(self._subscriber, bindings)
        except BadBinding as problem:
            return str(problem)
        except (Unavailable, psycopg.Error) as error:
            log.warning("realtime: a channel cannot subscribe to changes: %s", type(error).__name__)
            raise JoinError(NO_DATABASE) from None
        return None

    async def handle(self, message: Message) -> None:
        match message.event:
            case "access_token":
                await self._renew(_object(message.payload).get("access_token"))
            case "broadcast":
                await self._broadcast(message)
            case "presence":
                await self._presence(message)

    async def _renew(self, token: object) -> None:
        if not isinstance(token, str) or token.startswith("sb_") or token == self._token:
            return
        if not self._connection.events.take():
            self.shut_down("Too many messages per second")
            return
        try:
            access = await access_of(self._realtime.auth, self._connection.websocket, token)
        except Refused as refusal:
            self.shut_down(str(refusal))
            return
        self._token = token
        self._subscriber.access = access
        self._may_write.clear()
        self._set_timer()
        if self.config.is_private:
            await self._read_again()

    async def _read_again(self) -> None:
        """Look at the policies again, under a new token."""
        before = self._readable
        try:
            self._readable = await self._may_read()
        except JoinError:
            self.shut_down("Realtime was unable to connect to the project database")
            return
        if not self._readable:
            self.shut_down(self._unreadable)
        elif before - self._readable:
            self.shut_down(
                f"You no longer have permission to read from this Channel topic: {self.name}"
            )

    async def _broadcast(self, message: Message) -> None:
        if not await self._writes("broadcast"):
            return
        if not self._connection.events.take():
            self.shut_down("Too many messages per second")
            return
        besides = None if self.config.hears_itself else self
        self._realtime.broadcast(self.name, self.config.is_private, message.payload, besides)
        if self.config.acks:
            self._connection.reply(message, "ok", {})

    async def _presence(self, message: Message) -> None:
        asked = _object(message.payload)
        event, payload = str(asked.get("event", "")).lower(), asked.get("payload", {})
        if not self._connection.events.take():
            self.shut_down("Too many presence messages per second")
            return
        status, response = "ok", {}
        if event == "track" and not isinstance(payload, Mapping):
            status, response = "error", {"reason": "Presence track payload must be a map"}
        elif event == "track" and await self._writes("presence"):
            self.hears_presence = True
            self._realtime.track(self.name, self.config.is_private, self, {**payload})
        elif event == "untrack":
            self._realtime.untrack(self.name, self.config.is_private, self)
        else:
            status = "error"
        self._connection.reply(message, status, response)

    async def _writes(self, extension: authorization.Extension) -> bool:
        if not self.config.is_private:
            return True
        if extension not in self._may_write:
            try:
                self._may_write[extension] = await authorization.may_write(
                    self._realtime.pool, self.access, self.name, extension
                )
            except psycopg.OperationalError:
                return False
        return self._may_write[extension]

    def send(self, frame: str | bytes) -> None:
        self._connection.send(frame)

    def _push(self, event: str, payload: Any) -> None:
        message = Message(None, None, self.topic, event, None)
        self.send(encode_json(self.version, message, dumps(payload)))

    def _changed(self, ids: str, data: str) -> None:
        # A batch may be on its way while the channel closes, or its token expires.
        if self._connection.has(self) and self.access.expires_at > time.time():
            before, after = self._around
            self._connection.send(f'{before}{{"ids":[{ids}],"data":', data, after)

    def _told(self, status: str, message: str, extension: str = "postgres_changes") -> None:
        self._push(
            "system",
            {"extension": extension, "status": status, "message": message, "channel": self.name},
        )

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        wait_s = max(0.0, min(CONFIRM_S, self.access.expires_at - time.time()))
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._confirm)

    def _confirm(self) -> None:
        try:
            check_expiry(self.access)
        except Refused as refusal:
            self.shut_down(str(refusal))
        else:
            self._set_timer()

    def shut_down(self, reason: str) -> None:
        """Say why, and close: the client sees ``system`` with an error, then phx_close."""
        self._told("error", reason, "system")
        self.close()

    def close(self) -> None:
        """Idempotent; the client is told."""
        if self._connection.forget(self):
            self.leave()
            message = Message(self.join_ref, None, self.topic, "phx_close", {})
            self._connection.send(encode_json(self._connection.version, message, "{}"))

    def leave(self) -> None:
        """Without a word to the client."""
        if self._timer:
            self._timer.cancel()
        self._realtime.feed.unsubscribe(self._subscriber)
        self._realtime.leave(self.name, self.config.is_private, self)
