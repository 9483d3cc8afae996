"""Apply sql/ to a database, in name order, all of it or nothing: ``DB=<url> make schema``.

The address comes in the environment, as any user of the machine may read the arguments of a process (ps). The files are
plain SQL and re-runnable, so ``psql -f`` one by one does the same.
"""

import os
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from functions._shared.database.session import unfit_encoding

SQL_FOLDER = Path(__file__).parent.parent / "sql"
LOCK_TRIES = 60


def apply_schema(url: str) -> list[str]:
    """Apply every file of sql/; returns the notices the database gave that are worth reading.

    Safe beside running traffic: a lock that is not granted within lock_timeout rolls everything back, and it is tried
    again with jitter, for half a minute. What is waited for is said on stderr, once. Works through a transaction
    pooler: no setting and no lock outlives the transaction. Errors: psycopg.Error with the failing file as a note; then
    nothing has changed.
    """
    for attempt in range(LOCK_TRIES - 1):
        try:
            return _apply(url)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if attempt == 0:
                where = "".join(getattr(error, "__notes__", []))
                print(f"Waiting for a lock ({where or error}) …", file=sys.stderr)
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter
    return _apply(url)


def _apply(url: str) -> list[str]:
    notices: list[str] = []
    with psycopg.connect(url, autocommit=True) as connection:
        if unfit := unfit_encoding(connection):
            raise psycopg.NotSupportedError(unfit)
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        # One transaction for all files: a concurrent call finds all of the old functions or all of the new ones. A call
        # in flight whose next function has moved fails as a whole, and may be repeated.
        with connection.transaction():
            connection.execute("set local client_min_messages = notice")
            # Shorter than deadlock_timeout: in a deadlock this transaction gives way, not a user's request.
            connection.execute("set local lock_timeout = '500ms'")
            _lock(connection)
            for file in sorted(SQL_FOLDER.glob("*.sql")):
                try:
                    connection.execute(file.read_bytes())
                except psycopg.Error as error:
                    error.add_note(f"in sql/{file.name}")
                    raise
    return [
        text
        for text in notices
        if "already exists" not in text and "does not exist, skipping" not in text
    ]


def _lock(connection: psycopg.Connection[Any]) -> None:
    """Advisory lock: two gateways that start together would race for the same "create … if not exists"."""
    try:
        connection.execute("select pg_advisory_xact_lock(hashtext('picture-edge schema'))")
    except psycopg.errors.LockNotAvailable as error:
        error.add_note("another make schema runs on this database")
        raise


def main(environ: Mapping[str, str]) -> int:
    url = environ.get("DB", "").strip()
    if not url.startswith(("postgres://", "postgresql://")):
        print(
            "Usage: DB=postgresql://user:password@host:port/database make schema", file=sys.stderr
        )
        return 1
    try:
        notices = apply_schema(url)
    except psycopg.Error as error:
        where = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        print(f"Not applied{where}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 1
    for notice in notices:
        print(f"notice: {notice}")
    print(f"Applied {len(list(SQL_FOLDER.glob('*.sql')))} files of sql/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(os.environ))
