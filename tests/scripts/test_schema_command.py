"""``make schema``: through a transaction pooler it leaves nothing behind; what it waits for is said."""

import threading
from contextlib import contextmanager

import psycopg
import pytest

from scripts.schema import apply_schema, main
from tests.help import until_logged

pytestmark = pytest.mark.slow


def test_no_lock_and_no_setting_outlives_the_transaction(dsn, monkeypatch):
    """A session-level advisory lock stayed in PgBouncer's session for an hour, with a lock_timeout of 500 ms."""
    with psycopg.connect(dsn, autocommit=True) as session:

        @contextmanager
        def pooled(*_: object, **__: object):
            yield session  # as a pooler: the client disconnects, the session stays

        with monkeypatch.context() as patch:
            patch.setattr("psycopg.connect", pooled)
            apply_schema(dsn)
        query = (
            "select current_setting('lock_timeout'), count(*) from pg_locks"
            " where locktype = 'advisory' and pid = pg_backend_pid()"
        )
        assert session.execute(query).fetchone() == ("0", 0)


def test_another_make_schema_is_waited_for_and_named(dsn, capsys):
    with psycopg.connect(dsn) as other:
        other.execute("select pg_advisory_xact_lock(hashtext('picture-edge schema'))")
        codes: list[int] = []
        waiting = threading.Thread(target=lambda: codes.append(main({"DB": dsn})))
        waiting.start()
        until_logged(capsys, "Waiting for a lock (another make schema runs on this database)")
    waiting.join()
    assert codes == [0]
