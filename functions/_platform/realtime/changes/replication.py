"""Streaming logical replication over libpq's COPY BOTH, from a temporary slot.

psycopg has no replication mode, but its libpq wrapper has all that is needed: the commands are simple queries, and the
stream is COPY data in both directions. The slot is TEMPORARY: the server drops it with the session, also after a crash
of this process, so that a forgotten slot never retains the write-ahead log until the disk is full.
"""

import asyncio
import struct
import time
from secrets import token_hex

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from functions._platform.realtime.changes.pgoutput import Change, Commit, Decoder, Relation

STATUS_S = 1.0
"""How often the position is confirmed: the server ends a silent stream after wal_sender_timeout (60 s)."""
MAX_BATCH = 2_000
"""Messages that are taken from the socket before they are delivered (natural batching)."""
MAX_BATCH_BYTES = 4 << 20
"""The batch ends here as well: with long rows it would be gigabytes."""
CONNECT_S = 5
CLOSE_S = 2.0
OPTIONS = "-c datestyle=ISO -c timezone=UTC -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1"


class Lagging(psycopg.OperationalError):
    """The server retains more of its log for this slot than allowed: the stream is given up, and so is the log."""


class Stream:
    """One replication connection. ``read`` is not for concurrent use."""

    def __init__(self, connection: AsyncConnection, slot: str, max_lag: int) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self.slot = slot
        self._max_lag = max_lag
        self._decoder = Decoder()
        self._confirmed = 0
        self._told_at = 0.0

    @classmethod
    async def open(cls, address: SecretStr, publication: str, max_lag: int) -> "Stream":
        """Changes that commit after this returns are in the stream. Raises psycopg.Error."""
        connection = await AsyncConnection.connect(
            make_conninfo(
                address.get_secret_value(),
                replication="database",
                options=OPTIONS,
                connect_timeout=CONNECT_S,
                application_name="picture-edge realtime",
            ),
            autocommit=True,
            prepare_threshold=None,
        )
        slot = f"picture_edge_{token_hex(8)}"
        try:
            await connection.execute(
                sql.SQL(
                    "CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"
                ).format(sql.Identifier(slot))
            )
            stream = cls(connection, slot, max_lag)
            start = sql.SQL(
                "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {})"
            ).format(sql.Identifier(slot), sql.Literal(f'"{publication}"'))
            await stream._start(start.as_bytes(connection))
        except BaseException:
            await connection.close()
            raise
        return stream

    async def _start(self, command: bytes) -> None:
        self._libpq.send_query(command)
        self._libpq.flush()
        while self._libpq.is_busy():
            await self._readable(CONNECT_S)
            self._libpq.consume_input()
        result = self._libpq.get_result()
        if result is None or result.status != psycopg.pq.ExecStatus.COPY_BOTH:
            message = result.get_error_message() if result else "no result"
            raise psycopg.OperationalError(f"replication did not start: {message}")

    async def read(self) -> list[Change | Relation | Commit]:
        """What has arrived; nothing after STATUS_S of silence. Raises psycopg.OperationalError."""
        found = self._arrived()
        if not found:
            await self._readable(STATUS_S)
            self._libpq.consume_input()
            found = self._arrived()
        if time.monotonic() - self._told_at > STATUS_S:
            self._tell()
        return found

    def confirm(self, position: int) -> None:
        """Everything before ``position`` is delivered: the server may recycle its log up to there."""
        self._confirmed = max(self._confirmed, position)

    def _arrived(self) -> list[Change | Relation | Commit]:
        found: list[Change | Relation | Commit] = []
        taken = 0
        while len(found) < MAX_BATCH and taken < MAX_BATCH_BYTES:
            size, data = self._libpq.get_copy_data(1)
            if size == -1:
                raise psycopg.OperationalError("the replication stream has ended")
            if size == 0:
                break
            message = bytes(data)
            taken += size
            if message[:1] == b"k":
                self._keep_alive(message, found)
                continue
            decoded = self._decoder.decode(message[25:])
            if decoded is not None:
                found.append(decoded)
        return found

    def _keep_alive(self, message: bytes, found: list[Change | Relation | Commit]) -> None:
        end, _, wanted = struct.unpack_from(">qqB", message, 1)
        if not found and not self._decoder.in_transaction:
            self._confirmed = max(self._confirmed, end)  # nothing of ours was before it
        if self._confirmed and end - self._confirmed > self._max_lag:
            raise Lagging("the replication stream lags behind")
        if wanted:
            self._tell()

    def _tell(self) -> None:
        """Standby status update: written, flushed and applied up to the confirmed position."""
        position = self._confirmed
        self._libpq.put_copy_data(b"r" + struct.pack(">qqqqB", position, position, position, 0, 0))
        self._libpq.flush()
        self._told_at = time.monotonic()

    async def _readable(self, seconds: float) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._libpq.socket, ready.set)
        try:
            async with asyncio.timeout(seconds):
                await ready.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._libpq.socket)

    async def close(self) -> None:
        """End the stream and drop the slot. Without an answer within CLOSE_S the server does so when it misses us."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._end()
        except (TimeoutError, psycopg.Error, OSError):
            pass
        finally:
            await self._connection.close()

    async def _end(self) -> None:
        self._libpq.put_copy_end()
        self._libpq.flush()
        while (size := self._libpq.get_copy_data(1)[0]) != -1:
            if size == 0:
                await self._readable(CLOSE_S)
                self._libpq.consume_input()
        await self._results()
        drop = sql.SQL("DROP_REPLICATION_SLOT {}").format(sql.Identifier(self.slot))
        self._libpq.send_query(drop.as_bytes(self._connection))
        self._libpq.flush()
        await self._results()

    async def _results(self) -> None:
        while True:
            while self._libpq.is_busy():
                await self._readable(CLOSE_S)
                self._libpq.consume_input()
            if self._libpq.get_result() is None:
                return
