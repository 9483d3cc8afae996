"""The number of sql/: raised by each change, and the last thing that is applied (sql/99_version.sql)."""

import hashlib
import re
from pathlib import Path

import psycopg

from functions._shared.database.version import SCHEMA_VERSION
from scripts.schema import SQL_FOLDER
from tests.sql.originals import database_of

VERSION = SQL_FOLDER / "99_version.sql"
KNOWN = Path(__file__).with_name("version.txt")


def number() -> int:
    [text] = re.findall(r"as \$\$ select (\d+) \$\$;", VERSION.read_text())
    return int(text)


def fingerprint() -> str:
    """SHA-256 of all files but that of the number, names included."""
    digest = hashlib.sha256()
    for file in sorted(SQL_FOLDER.glob("*.sql")):
        if file != VERSION:
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def test_each_change_of_sql_raises_its_number():
    known, known_fingerprint = KNOWN.read_text().split()
    changed = fingerprint() != known_fingerprint
    wanted = int(known) + 1 if changed and number() == int(known) else number()
    assert (number(), fingerprint()) == (int(known), known_fingerprint), (
        f"sql/ has changed: raise picture_edge.version() in sql/99_version.sql to {wanted},"
        f" and write this line into tests/sql/version.txt:\n{wanted} {fingerprint()}"
    )


def test_the_code_expects_this_number():
    assert number() == SCHEMA_VERSION, "raise it in functions/_shared/database/version.py as well"


def test_a_database_tells_its_number(db):
    db.execute("set role service_role")
    assert db.execute("select picture_edge.version() as it").fetchone() == {"it": number()}


def test_a_half_applied_sql_is_not_current(dsn):
    """File by file, without a transaction around them: until the last one there is no number."""
    with database_of(dsn) as (url, db), psycopg.connect(url, autocommit=True) as admin:
        *files, last = sorted(SQL_FOLDER.glob("*.sql"))
        for file in files:
            admin.execute(file.read_bytes())
        exists = "select to_regprocedure('picture_edge.version()') is not null as it"
        assert db.execute(exists).fetchone() == {"it": False}
        admin.execute(last.read_bytes())
        assert db.execute(exists).fetchone() == {"it": True}
