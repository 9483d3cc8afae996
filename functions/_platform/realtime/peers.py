"""Other processes on the same database: broadcast and presence reach their channels too, by NOTIFY.

A process announces itself, and sends nothing else while it is alone. What does not fit into a notification (8,000
bytes) goes through a row of realtime.messages. Broadcasts of SQL (``realtime.send``) arrive the same way.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import psycopg

from functions._platform.realtime.envelopes import (
    Remote,
    broadcast_of,
    members_of,
    message_of,
    sent_of,
)
from functions._platform.realtime.frames import dumps
from functions._platform.realtime.hub import Hub
from functions._platform.realtime.presence import Member
from functions._shared.database.listener import Listener
from functions._shared.database.pool import Pool
from functions._shared.settings import Settings
from functions._shared.supervisor import together

log = logging.getLogger(__name__)

CHANNEL = "picture_edge_broadcast"
READY_S = 1.0
BEAT_S = 10.0
DEAD_S = 35.0
"""A process that has announced nothing for so long is dead: its members leave."""
MAX_WAITING = 10_000
"""Notifications that wait for the database; further ones are dropped, with a word in the log."""
MAX_BYTES = 7_999
PURGE_S = 3600.0
NOTIFY = "select pg_notify(%s, told) from unnest(%s::text[]) as told"
STORE = """
insert into realtime.messages (id, topic, extension, payload, private)
select id, 'picture_edge', 'broadcast', to_jsonb(told), true from unnest(%s::uuid[], %s::text[]) as sent (id, told)
"""
"""As a text in JSON: jsonb itself refuses the character NUL (\\u0000), which JSON allows."""
STORED = "select id::text, topic, event, payload, private from realtime.messages where id = %s"
PURGE = "delete from realtime.messages where inserted_at < now() - interval '3 days'"


class Peers:
    """``run`` until cancelled; the other methods never wait."""

    def __init__(self, settings: Settings, pool: Pool, hub: Hub) -> None:
        self._pool = pool
        self._hub = hub
        self._me = uuid4().hex
        self._numbers = 0
        self._heard_at: dict[str, float] = {}
        self._members: dict[str, dict[str, Remote]] = {}
        """Process → number of a member → the member."""
        self._own: dict[Member, str] = {}
        self._waiting: list[str] = []
        self._filled = asyncio.Event()
        self._ready = asyncio.Event()
        self._told: asyncio.Queue[str] = asyncio.Queue()
        self._listener = Listener(
            settings.supabase_db_direct_url or settings.supabase_db_url,
            {CHANNEL: self._told.put_nowait},
            "broadcast and presence of /realtime/v1 reach one process only",
        )

    @property
    def others(self) -> int:
        """How many other processes there are."""
        return len(self._heard_at)

    def broadcast(self, topic: str, is_private: bool, sent: Any) -> None:
        """``sent``: a frame's payload, or a UserBroadcast."""
        if self._heard_at:
            self._tell("sent", topic=topic, private=is_private, sent=sent_of(sent))

    def tracked(
        self, topic: str, is_private: bool, member: Member, meta: Mapping[str, Any]
    ) -> None:
        number = self._own.setdefault(member, uuid4().hex)
        if self._heard_at:
            self._tell("track", members=[[topic, is_private, number, member.presence_key, meta]])

    def untracked(self, topic: str, is_private: bool, member: Member) -> None:
        number = self._own.pop(member, None)
        if number and self._heard_at:
            self._tell("untrack", number=number)

    async def run(self) -> None:
        await together(self._listen(), self._send(), self._receive(), self._beat())

    async def ready(self) -> None:
        """Until notifications arrive for the first time, for READY_S at most: a broadcast of SQL after it is heard."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                await self._ready.wait()

    async def _listen(self) -> None:
        try:
            await self._listener.run()  # ends at a pooler
        finally:
            self._ready.set()

    async def leave(self) -> None:
        """The members here are told to be gone: at a stop, so that nobody waits for DEAD_S."""
        if self._heard_at:
            self._waiting.clear()
            self._tell("bye")
            await self._notify(self._waiting)

    def _tell(self, kind: str, **more: Any) -> None:
        if len(self._waiting) >= MAX_WAITING:
            log.warning("realtime: %d notifications wait: one is dropped", MAX_WAITING)
            return
        self._numbers += 1  # NOTIFY passes two equal payloads of a transaction on as one
        self._waiting.append(dumps({"kind": kind, "from": self._me, "n": self._numbers, **more}))
        self._filled.set()

    async def _send(self) -> None:
        """All that waits in one statement (natural batching)."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            waiting, self._waiting = self._waiting, []
            await self._notify(waiting)

    async def _notify(self, told: list[str]) -> None:
        long = {str(uuid4()): one for one in told if len(one.encode()) > MAX_BYTES}
        short = [one for one in told if len(one.encode()) <= MAX_BYTES]
        short += [dumps({"kind": "stored", "from": self._me, "id": number}) for number in long]
        try:
            async with self._pool.connection() as connection, connection.transaction():
                if long:
                    await connection.execute(STORE, ([*long], [*long.values()]))
                await connection.execute(NOTIFY, (CHANNEL, short))
        except psycopg.Error as error:
            log.warning("realtime: other processes are not told: %s", type(error).__name__)

    async def _beat(self) -> None:
        purged_at = float("-inf")
        while True:
            if self._listener.up:
                self._tell("alive")
            now = time.monotonic()
            for process in [one for one, at in self._heard_at.items() if now - at > DEAD_S]:
                self._lost(process)
            if now - purged_at > PURGE_S:
                purged_at = now
                await self._purge()
            await asyncio.sleep(BEAT_S)

    async def _purge(self) -> None:
        try:
            async with self._pool.connection() as connection:
                await connection.execute(PURGE)
        except psycopg.Error as error:
            log.warning("realtime: old messages are not deleted: %s", type(error).__name__)

    async def _receive(self) -> None:
        while True:
            text = await self._told.get()
            try:
                await self._heard(text)
            except Exception as error:  # noqa: BLE001 - the channel is open to all who may run SQL
                log.warning("realtime: a notification is ignored: %s", type(error).__name__)

    async def _heard(self, text: str) -> None:
        if not text:  # connected, again: what was told meanwhile is lost
            self._ready.set()
            self._tell("hello")
            self._tell_state()
            return
        told: dict[str, Any] = json.loads(text)
        process = told.get("from")
        if process == self._me:
            return
        if told["kind"] == "stored":
            told = await self._stored(told["id"]) or {"kind": "none"}
        if process:
            is_new = process not in self._heard_at
            self._heard_at[process] = time.monotonic()
            if is_new or told["kind"] == "hello":
                self._tell_state()
        self._done(process or "", told)

    async def _stored(self, number: str) -> dict[str, Any] | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(STORED, (number,))
            row = await cursor.fetchone()
        if row is None:
            return None
        found: dict[str, Any] = {**row, "kind": "message"}
        return found if row["event"] else json.loads(row["payload"])

    def _done(self, process: str, told: dict[str, Any]) -> None:
        match told["kind"]:
            case "message":
                self._hub.broadcast(told["topic"], bool(told["private"]), message_of(told))
            case "sent":
                self._hub.broadcast(told["topic"], told["private"], broadcast_of(told["sent"]))
            case "state":
                self._placed(process, told, is_whole=True)
            case "track":
                self._placed(process, told, is_whole=False)
            case "untrack":
                self._removed(process, told["number"])
            case "bye":
                self._lost(process)

    def _tell_state(self) -> None:
        """All members here: for a process that is new, or has missed some."""
        self._tell("state", members=members_of(self._hub, self._own))

    def _placed(self, process: str, told: dict[str, Any], *, is_whole: bool) -> None:
        known = self._members.setdefault(process, {})
        if is_whole:
            for number in known.keys() - {member[2] for member in told["members"]}:
                self._removed(process, number)
        for topic, is_private, number, key, meta in told["members"]:
            member = known.setdefault(number, Remote(topic, is_private, key))
            self._hub.topic(topic, is_private).place(member, meta)

    def _removed(self, process: str, number: str) -> None:
        member = self._members.get(process, {}).pop(number, None)
        if member:
            self._hub.topic(member.topic, member.is_private).untrack(member)
            self._hub.drop_unused(member.topic, member.is_private)

    def _lost(self, process: str) -> None:
        self._heard_at.pop(process, None)
        for number in [*self._members.get(process, {})]:
            self._removed(process, number)
        self._members.pop(process, None)
