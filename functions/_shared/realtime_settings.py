"""The settings of /realtime/v1. Limits are those of one process."""

from typing import Literal

from pydantic import BaseModel, PositiveInt


class RealtimeSettings(BaseModel):
    """A part of ``Settings``."""

    realtime_changes: Literal["auto", "logical", "triggers"] = "auto"
    """Where changes come from: logical decoding, else triggers with NOTIFY; auto: the first that the server allows."""
    realtime_max_concurrent_users: PositiveInt = 10_000
    """Open websockets."""
    realtime_max_channels_per_client: PositiveInt = 100
    realtime_max_joins_per_second: PositiveInt = 500
    realtime_max_events_per_second: PositiveInt = 100
    """Broadcasts of one connection."""
    realtime_max_payload_kb: PositiveInt = 3000
    """Of one message of a client."""
    realtime_max_buffer_kb: PositiveInt = 8192
    """Unsent frames of one connection; beyond that it is closed (slow consumer)."""
    realtime_max_total_buffer_mb: PositiveInt = 256
    """Unsent frames of all connections, as memory; beyond that those that hold most are closed."""
    realtime_max_wal_mb: PositiveInt = 1024
    """Write-ahead log that the server may retain for the feed; beyond that the feed starts afresh."""
