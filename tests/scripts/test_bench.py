"""make bench at its smallest: every row is there and says something."""

import re

from scripts.bench.__main__ import main
from scripts.bench.throughput import CELLS


def test_the_queues_page(monkeypatch, capsys):
    monkeypatch.setenv("SECONDS", "1")
    monkeypatch.setenv("ROWS", "1000")
    monkeypatch.setattr("scripts.bench.throughput.CELLS", CELLS[:4])
    assert main() == 0
    page = capsys.readouterr().out
    for name, *_ in CELLS[:4]:
        found = re.search(rf"{name} +([\d,]+) +([\d,]+)\n", page)
        assert found
        assert all(int(rate.replace(",", "")) > 0 for rate in found.groups())
    assert len(re.findall(r" [\d.]+ +[\d.]+ +\d+\n", page)) == 4
