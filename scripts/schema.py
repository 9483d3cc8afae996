"""Apply sql/ to a database, in name order, each file in a transaction of its own: ``make schema DB=<url>``.

The files are plain SQL and re-runnable, so ``psql -f`` one by one does the same.
"""

import sys
from pathlib import Path

import psycopg

SQL_FOLDER = Path(__file__).parent.parent / "sql"


def apply_schema(url: str) -> list[str]:
    """Apply every file of sql/; returns the notices the database gave that are worth reading.

    Errors: psycopg.Error with the failing file as a note; what earlier files did stays.
    """
    notices: list[str] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        # Two gateways that start together must not race for the same "create … if not exists".
        connection.execute("select pg_advisory_lock(hashtext('picture-edge schema'))")
        connection.execute("set client_min_messages = notice")
        for file in sorted(SQL_FOLDER.glob("*.sql")):
            try:
                with connection.transaction():
                    connection.execute(file.read_bytes())
            except psycopg.Error as error:
                error.add_note(f"in sql/{file.name}")
                raise
    return [
        text
        for text in notices
        if "already exists" not in text and "does not exist, skipping" not in text
    ]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not arguments[0].startswith(("postgres://", "postgresql://")):
        print(
            "Usage: make schema DB=postgresql://user:password@host:port/database", file=sys.stderr
        )
        return 1
    try:
        notices = apply_schema(arguments[0])
    except psycopg.Error as error:
        where = " ".join(getattr(error, "__notes__", []))
        print(f"Not applied {where}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 1
    for notice in notices:
        print(f"notice: {notice}")
    print(f"Applied {len(list(SQL_FOLDER.glob('*.sql')))} files of sql/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
