"""auth.flow_state: PKCE challenges that wait for their code, and codes that wait for their verifier."""

import secrets
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from functions._platform.auth.pkce import Challenge
from functions._platform.auth.store.users import Connection

LIFE_S = 300
"""Of a code, and of a challenge that no code was issued for."""
MAX_PER_USER = 20
"""Challenges of one user that are kept: anybody can ask for a mail, with a challenge of theirs."""


@dataclass(frozen=True)
class FlowState:
    id: UUID
    user_id: UUID
    method: str
    """``authentication_method``: what the session will have in ``amr``."""
    challenge: Challenge = field(repr=False)
    expired: bool


async def add_flow_state(
    connection: Connection, user_id: UUID, challenge: Challenge, *, provider: str, method: str
) -> None:
    """Keep a challenge of ``user_id`` until its mail's link is followed."""
    await connection.execute(
        """
delete from auth.flow_state
where id in (
    select id from auth.flow_state where user_id = %s order by created_at desc offset %s
)""",
        (user_id, MAX_PER_USER - 1),
    )
    await connection.execute(
        """
insert into auth.flow_state (
    id, user_id, auth_code, code_challenge_method, code_challenge, provider_type, authentication_method,
    provider_access_token, provider_refresh_token, created_at, updated_at
)
values (
    gen_random_uuid(), %s, %s, %s::auth.code_challenge_method, %s, %s, %s, '', '', clock_timestamp(), clock_timestamp()
)""",
        (user_id, str(uuid4()), challenge.method, challenge.value, provider, method),
    )


async def issue_code(connection: Connection, user_id: UUID, method: str) -> str | None:
    """A new code for the newest challenge of the user by ``method``. None: there is none."""
    code = str(UUID(bytes=secrets.token_bytes(16), version=4))
    row = await (
        await connection.execute(
            """
update auth.flow_state set auth_code = %s, auth_code_issued_at = clock_timestamp(), updated_at = clock_timestamp()
where id = (
    select id from auth.flow_state
    where user_id = %s and authentication_method = %s and coalesce(code_challenge, '') <> ''
    order by created_at desc limit 1
)
returning auth_code""",
            (code, user_id, method),
        )
    ).fetchone()
    return row["auth_code"] if row else None


async def lock_by_code(connection: Connection, code: str) -> FlowState | None:
    """The challenge that ``code`` was issued for, locked until the transaction ends: a code is exchanged once."""
    row = await (
        await connection.execute(
            """
select f.id, f.user_id, f.authentication_method, f.code_challenge, f.code_challenge_method::text as challenge_method,
    f.auth_code_issued_at + make_interval(secs => %s) < clock_timestamp() as expired
from auth.flow_state as f
where f.auth_code = %s and f.auth_code_issued_at is not null and f.user_id is not null
    and coalesce(f.code_challenge, '') <> ''
for update""",
            (LIFE_S, code),
        )
    ).fetchone()
    if row is None:
        return None
    return FlowState(
        id=row["id"],
        user_id=row["user_id"],
        method=row["authentication_method"],
        challenge=Challenge(row["challenge_method"], row["code_challenge"]),
        expired=row["expired"],
    )


async def remove_flow_state(connection: Connection, id: UUID) -> None:
    await connection.execute("delete from auth.flow_state where id = %s", (id,))
