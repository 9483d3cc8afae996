"""Fixtures of the SQL tests: jobs by named arguments, generations, and a session's role."""

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.conftest import Database, Row
from tests.help import BODY
from tests.sql.help import USER


@pytest.fixture
def enqueue(db: Database) -> Callable[..., Any]:
    """Call enqueue_job by its arguments' names; returns the job's id."""

    def call(**arguments: object) -> Any:
        values = {"p_job_type": "generate-image", "p_payload": "{}", **arguments}
        named = ", ".join(f"{name} => %({name})s" for name in values)
        row = db.execute(f"select enqueue_job({named}) as id".encode(), values).fetchone()
        assert row
        return row["id"]

    return call


@pytest.fixture
def start(db: Database) -> Callable[..., Row]:
    """Start a generation of USER; keywords override the body. Returns a row of generation_id and job_id."""

    def call(**request: object) -> Row:
        row = db.execute(
            "select * from picture_edge.start_generation(%s, %s)",
            (USER, Jsonb({**BODY, **request})),
        ).fetchone()
        assert row
        return row

    return call


@pytest.fixture
def started(start: Callable[..., Row]) -> Row:
    """A queued generation of USER: its generation_id and job_id."""
    return start()


@pytest.fixture
def as_role(db: Database) -> Callable[..., None]:
    """Give the session a role, and the claims of a user, until it is reset."""

    def become(role: str, user_id: str | None = None) -> None:
        db.execute(f"set role {role}".encode())
        claims = f'{{"sub": "{user_id}"}}' if user_id else "{}"
        db.execute("select set_config('request.jwt.claims', %s, false)", (claims,))

    return become
