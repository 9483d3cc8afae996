"""Rows that nothing refers to any more, deleted in small batches that wait for no lock."""

from typing import LiteralString

from functions._platform.auth.store.users import Connection

EVERY_S = 60.0
"""Seconds between two looks of a process."""
BATCH = 1000
DELETIONS: tuple[LiteralString, ...] = (
    # A day, as in GoTrue: reuse of a refresh token that was stolen is noticed for that long.
    "delete from auth.refresh_tokens where id in (select id from auth.refresh_tokens"
    " where revoked and updated_at < now() - interval '24 hours' limit %s for update skip locked)",
    "delete from auth.sessions where id in (select id from auth.sessions"
    " where not_after < now() - interval '72 hours' limit %s for update skip locked)",
    "delete from auth.flow_state where id in (select id from auth.flow_state"
    " where created_at < now() - interval '24 hours' limit %s for update skip locked)",
)


async def delete_stale_rows(connection: Connection) -> bool:
    """Delete a batch of each kind; whether there may be more."""
    counts = [(await connection.execute(query, (BATCH,))).rowcount for query in DELETIONS]
    return max(counts) == BATCH
