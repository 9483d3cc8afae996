"""make bench at its smallest: every row of every page is there and says something."""

import re
from contextlib import nullcontext

import psycopg
import pytest

from scripts.bench import __main__ as bench
from scripts.bench.attacks import ATTACKS
from scripts.bench.children import provider_and_storage
from scripts.bench.lite import lacking
from scripts.bench.throughput import CELLS
from scripts.schema import apply_schema
from tests.conftest import QUICK_POLLS

pytestmark = pytest.mark.slow

FIGURE = r"[\d,]+(?:\.\d+)?"
PAGES = {
    "queue": [name for name, *_ in CELLS[:4]],
    "claims": ["nothing", "1,000 waiting"],
    "wakeup": ["floor: NOTIFY to a bare listener", "request to start-generation to handler start"],
    "sharing": ["a user's first job, nobody else there", "… while another user has 10 waiting"],
    "jobs": ["one worker process", "… beside 1,000 finished and 100 future"],
    "http": ["(a) pgbench, the same SQL", "floor: (b), and (a) within it", "start-generation"],
    "platform": [
        "(a) a bare route: one row by id",
        *([] if lacking() else ["(b) @supabase/lite: one row by id"]),
        "/rest/v1: one row by id",
        "/rest/v1: an insert, row returned",
        "(a) bcrypt.checkpw in threads",
        "/auth/v1: a sign-in",
        "RSS of the gateway with all services, MB",
        "start of the stack, s",
    ],
    "storage": [
        "(a) a file fsynced, a row committed: 1 MB up",
        "upload, the service role (a worker)",
        "download, public",
        "list",
        "sign",
        "render, cached",
        "RSS of a 50 MB upload and download, MB above idle",
    ],
    "parked": ["50 parked jobs", "20 open event streams"],
    "pictures": ["1 process", "2 processes"],
    "realtime": ["floor: NOTIFY to a bare listener", "2 subscribers", "100 updates:"],
    "hostile": list(ATTACKS),
}


def schema_with_quick_polls(url: str) -> None:
    """The parked page waits until each prediction has been polled five times."""
    apply_schema(url)
    with psycopg.connect(url) as connection:
        connection.execute(QUICK_POLLS.encode())


@pytest.mark.parametrize("page", PAGES)
def test_a_page(monkeypatch, capsys, page):
    monkeypatch.setenv("PAGES", page)
    # pgbench takes whole seconds only, and a sign-in some tenths of one.
    seconds = {"queue": 1, "http": 1, "platform": 0.3}
    monkeypatch.setattr(bench, "SECONDS", seconds.get(page, 0.1))
    monkeypatch.setattr(bench, "ROWS", 1000)
    monkeypatch.setattr(bench, "COUNT", 1)
    monkeypatch.setattr("scripts.bench.throughput.CELLS", CELLS[:4])
    monkeypatch.setattr("scripts.bench.hostile.QUIET_S", 0.1)
    monkeypatch.setattr(bench, "apply_schema", schema_with_quick_polls)
    for module in ("http", "platform", "storage"):
        monkeypatch.setattr(f"scripts.bench.{module}.CONNECTIONS", (1,))
    with provider_and_storage(3600) as provider:
        # One for all attacks: each has a gateway of its own all the same.
        monkeypatch.setattr(
            "scripts.bench.hostile.provider_and_storage", lambda _: nullcontext(provider)
        )
        assert bench.main() == 0
    printed = capsys.readouterr().out
    for name in PAGES[page]:
        found = re.search(rf"{re.escape(name)} +{FIGURE}", printed)
        assert found, printed
