"""One websocket: frames in, a bounded queue of frames out, its channels.

A slow client never holds the others up: what is sent to it is queued, up to REALTIME_MAX_BUFFER_KB, and for all clients
together up to REALTIME_MAX_TOTAL_BUFFER_MB; beyond that it is closed with a reason (slow-consumer protection).
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from functions._platform.realtime.access import Access, Refused, access_of
from functions._platform.realtime.buffers import Frame
from functions._platform.realtime.channel import Channel, JoinError, config_of
from functions._platform.realtime.frames import BadFrame, Message, decode, encode
from functions._platform.realtime.rates import Rate
from functions._platform.realtime.shared import Realtime

log = logging.getLogger(__name__)

IDLE_S = 60.0
"""Without a frame for so long the client is gone: heartbeats come every 25 s."""
CLOSE_S = 1.0
SLOW, TOO_BIG, POLICY = (
    (1008, "slow consumer"),
    (1009, "message too big"),
    (1008, "policy violation"),
)


class Connection:
    """``run`` once. ``access`` and ``token``: the handshake's, for channels without a token of their own."""

    def __init__(
        self, realtime: Realtime, websocket: WebSocket, version: str, access: Access, token: str
    ) -> None:
        self.realtime = realtime
        self.websocket = websocket
        self.version = version
        self.events = Rate(realtime.settings.realtime_max_events_per_second)
        self._joins = Rate(realtime.settings.realtime_max_channels_per_client)
        self._access = access
        self._token = token
        self._channels: dict[str, Channel] = {}
        self._queue: deque[Frame] = deque()
        self.queued = 0
        self._max_queued = realtime.settings.realtime_max_buffer_kb * 1024
        self._max_message = realtime.settings.realtime_max_payload_kb * 1024
        self._filled = asyncio.Event()
        self._ending = asyncio.Event()
        self._close = (1000, "")

    async def run(self) -> None:
        """Until either side closes. The websocket has been accepted."""
        self.realtime.buffers.join(self)
        tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._write()),
            asyncio.create_task(self._ending.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.realtime.buffers.leave(self)
            for task in tasks:
                task.cancel()
            for failure in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(failure, Exception) and not isinstance(failure, WebSocketDisconnect):
                    log.error("realtime: a connection has failed", exc_info=failure)
            for channel in [*self._channels.values()]:
                channel.leave()
            self._channels.clear()
            self._let_go()
            with suppress(Exception):  # the peer may be gone already
                async with asyncio.timeout(CLOSE_S):
                    await self.websocket.close(*self._close)

    def send(self, *frame: str | bytes) -> None:
        """Queue a frame; never waits. Texts are joined when it is written: queues share what frames have in common."""
        if self._ending.is_set():
            return
        self.queued += sum(map(len, frame))
        if self.queued > self._max_queued:
            self.drop()
            return
        self._queue.append(frame)
        self._filled.set()
        self.realtime.buffers.add(frame)

    def drop(self) -> None:
        """Close without sending what is queued."""
        self.end(SLOW)
        self._let_go()

    def _let_go(self) -> None:
        for frame in self._queue:
            self.realtime.buffers.remove(frame)
        self._queue.clear()
        self.queued = 0

    def reply(self, to: Message, status: str, response: Any) -> None:
        payload = {"status": status, "response": response}
        answer = Message(to.join_ref, to.ref, to.topic, "phx_reply", payload)
        self.send(encode(self.version, answer))

    def end(self, why: tuple[int, str]) -> None:
        if not self._ending.is_set():
            self._close = why
            self._ending.set()

    def has(self, channel: Channel) -> bool:
        """Whether it is still this connection's channel of its topic."""
        return self._channels.get(channel.topic) is channel

    def forget(self, channel: Channel) -> bool:
        """Whether it was there."""
        if not self.has(channel):
            return False
        del self._channels[channel.topic]
        return True

    async def _write(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                frame = self._queue[0]  # counted until it is written
                if isinstance(frame[0], bytes):
                    await self.websocket.send_bytes(frame[0])
                else:
                    await self.websocket.send_text("".join(map(str, frame)))
                if self._ending.is_set():
                    return
                self._queue.popleft()
                self.realtime.buffers.remove(frame)
                self.queued -= sum(map(len, frame))

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    event = await self.websocket.receive()
            except TimeoutError:
                return
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            data = event.get("text") or event.get("bytes") or ""
            if len(data) > self._max_message:
                self.end(TOO_BIG)
                return
            try:
                await self._handle(decode(data, self.version))
            except BadFrame:
                self.end(POLICY)
                return

    async def _handle(self, message: Message) -> None:
        channel = self._channels.get(message.topic)
        if message.topic == "phoenix" and message.event == "heartbeat":
            self.reply(message, "ok", {})
        elif message.event == "phx_join":
            await self._joined(message)
        elif message.event == "phx_leave":
            self.reply(message, "ok", {})
            if channel:
                channel.close()
        elif channel is None:
            self.reply(message, "error", {"reason": "unmatched topic"})
        elif message.join_ref in {None, channel.join_ref}:
            await channel.handle(message)

    async def _joined(self, message: Message) -> None:
        before = self._channels.get(message.topic)
        if before:
            before.close()
        try:
            channel = await self._channel(message)
        except Refused as refusal:
            self.reply(message, "error", {"reason": f"{refusal.code}: {refusal}"})
            return
        except JoinError as error:
            self.reply(message, "error", {"reason": str(error)})
            return
        try:
            await channel.authorise()
            await channel.open(message)
        except JoinError as error:
            self.forget(channel)
            channel.leave()
            self.reply(message, "error", {"reason": str(error)})

    async def _channel(self, message: Message) -> Channel:
        settings = self.realtime.settings
        if not message.topic.startswith("realtime:"):
            raise JoinError("unmatched topic")
        if message.topic == "realtime:":
            raise JoinError("TopicNameRequired: You must provide a topic name")
        if len(self._channels) >= settings.realtime_max_channels_per_client:
            raise JoinError("ChannelRateLimitReached: Too many channels")
        # A connection's own rate comes first: one client must not use up the joins of all.
        if not self._joins.take() or not self.realtime.joins.take():
            raise JoinError("ClientJoinRateLimitReached: Too many joins per second")
        token = message.payload.get("access_token") if isinstance(message.payload, dict) else None
        if not isinstance(token, str) or token.startswith("sb_"):
            token = self._token
        access = await access_of(self.realtime.auth, self.websocket, token)
        channel = Channel(self, message, config_of(message.payload), access, token)
        self._channels[message.topic] = channel
        return channel
