"""make bench at its smallest: every row of every page is there and says something."""

import re
from contextlib import nullcontext
from dataclasses import replace

import psycopg
import pytest

from scripts.bench import __main__ as bench
from scripts.bench import run
from scripts.bench.attacks import ATTACKS
from scripts.bench.children import provider_and_storage
from scripts.bench.lite import lacking
from scripts.bench.options import Options
from scripts.bench.throughput import CELLS
from scripts.schema import apply_schema
from tests.conftest import QUICK_POLLS

pytestmark = pytest.mark.slow

FIGURE = r"[\d,]+(?:\.\d+)?"
PAGES = {
    "gateway": ["the gateway, ready", "a new token", "a known token"],
    "queue": [name for name, *_ in CELLS[:4]],
    "claims": ["nothing", "1,000 waiting"],
    "wakeup": ["floor: NOTIFY to a bare listener", "request to start-generation to handler start"],
    "sharing": ["a user's first job, nobody else there", "… while another user has 10 waiting"],
    "jobs": ["one worker process", "… beside 1,000 finished and 100 future"],
    "http": [
        "floor: pgbench, the same SQL, 1 connection",
        "floor: route and psycopg, one after the other, 1 connection",
        "start-generation, 1 connection",
        "GET start-generation/<id>, 32 connections",
    ],
    "processes": ["one process", "two processes"],
    "enqueue": ["floor: bare INSERT, all in one statement", "enqueue_job by 8 producers"],
    "platform": [
        "(a) a bare route: one row by id, 1 connection",
        *([] if lacking() else ["(b) @supabase/lite: one row by id, 1 connection"]),
        "/rest/v1: one row by id, 1 connection",
        "/rest/v1: an insert, row returned, 1 connection",
        "(a) bcrypt.checkpw in threads, 1 connection",
        "/auth/v1: a sign-in, 1 connection",
        "RSS of the gateway with all services, MB",
        "start of the stack, s",
    ],
    "storage": [
        "(a) a file fsynced, a row committed: 1 MB up, 1 connection",
        "upload, the service role (a worker), 1 connection",
        "download, public, 1 connection",
        "list, 1 connection",
        "sign, 1 connection",
        "render, cached, 1 connection",
        "RSS of a 50 MB upload and download, MB above idle",
    ],
    "parked": ["400 parked jobs", "20 open event streams"],
    "pictures": ["1 process", "2 processes"],
    "realtime": [
        "floor: NOTIFY to a bare listener",
        "2 subscribers",
        "a burst of 100 updates: frames",
    ],
    "hostile": list(ATTACKS),
}


def schema_with_quick_polls(url: str) -> None:
    """The parked page waits until each prediction has been polled five times."""
    apply_schema(url)
    with psycopg.connect(url) as connection:
        connection.execute(QUICK_POLLS.encode())


@pytest.mark.parametrize("page", PAGES)
def test_a_page(monkeypatch, capsys, tmp_path, page):
    # pgbench takes whole seconds only.
    seconds = {"queue": 1, "http": 1}
    options = Options(
        seconds=seconds.get(page, 0.1),
        rounds=2 if page in ("enqueue", "gateway") else 1,
        rows=1000,
        count=1,
        connections=(1,),
        pages=(page,),
        out=tmp_path / "bench.json",
    )
    if page == "platform":  # a sign-in takes some tenths of a second
        options = replace(options, seconds=0.3)
    monkeypatch.setattr(Options, "from_env", lambda: options)
    monkeypatch.setattr("scripts.bench.throughput.CELLS", CELLS[:4])
    monkeypatch.setattr("scripts.bench.hostile.QUIET_S", 0.1)
    monkeypatch.setattr("scripts.bench.gateway_start.TOKENS", 5)
    monkeypatch.setattr("scripts.bench.http.FIRST_WARM_UP_S", 0.1)
    monkeypatch.setattr(run, "apply_schema", schema_with_quick_polls)
    for module in ("platform", "storage"):
        monkeypatch.setattr(f"scripts.bench.{module}.CONNECTIONS", (1,))
    with provider_and_storage(3600) as provider:
        # One for all attacks: each has a gateway of its own all the same.
        monkeypatch.setattr(
            "scripts.bench.hostile.provider_and_storage", lambda _: nullcontext(provider)
        )
        assert bench.main() == 0
    printed = capsys.readouterr().out
    for name in PAGES[page]:
        found = re.search(rf"^{re.escape(name)} +{FIGURE}", printed, re.MULTILINE)
        assert found, printed
    written = run.Run.read(options.out)
    assert {figure.name for figure in written.figures} >= set(PAGES[page])
    assert {len(figure.samples) for figure in written.figures} == {options.rounds}
    assert written.about["postgres"]["settings"]["fsync"] == "on"
