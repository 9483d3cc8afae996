"""make bench at its smallest: every row of every page is there and says something."""

import re

import pytest

from scripts.bench import __main__ as bench
from scripts.bench.attacks import ATTACKS
from scripts.bench.throughput import CELLS

FIGURE = r"[\d,]+(?:\.\d+)?"
PAGES = {
    "queue": [name for name, *_ in CELLS[:4]],
    "claims": ["nothing", "1,000 waiting"],
    "wakeup": ["floor: NOTIFY to a bare listener", "request to start-generation to handler start"],
    "sharing": ["a user's first job, nobody else there", "… while another user has 10 waiting"],
    "jobs": ["one worker process", "… beside 1,000 finished and 100 future"],
    "http": ["(a) pgbench, the same SQL", "floor: (b), and (a) within it", "start-generation"],
    "parked": ["50 parked jobs", "20 open event streams"],
    "pictures": ["1 process", "2 processes"],
    "hostile": list(ATTACKS),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page(monkeypatch, capsys, page):
    monkeypatch.setenv("PAGES", page)
    monkeypatch.setattr(bench, "SECONDS", 1)
    monkeypatch.setattr(bench, "ROWS", 1000)
    monkeypatch.setattr(bench, "COUNT", 1)
    monkeypatch.setattr("scripts.bench.throughput.CELLS", CELLS[:4])
    monkeypatch.setattr("scripts.bench.hostile.QUIET_S", 0.1)
    monkeypatch.setattr("scripts.bench.http.CONNECTIONS", (1,))
    assert bench.main() == 0
    printed = capsys.readouterr().out
    for name in PAGES[page]:
        found = re.search(rf"{re.escape(name)} +{FIGURE}", printed)
        assert found, printed
