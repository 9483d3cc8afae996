"""What make bench does with its samples: medians, ratios, comparison, check, the page and its plot."""

import xml.etree.ElementTree as ElementTree

import pytest

from scripts.bench import check, report
from scripts.bench.aims import AIMS, Aim
from scripts.bench.figures import PEER, Column, Figure, Row, by_key, gather, ratio, ratio_to_floor
from scripts.bench.options import Options
from scripts.bench.pages import AIMS as PAGES_OF_AIMS
from scripts.bench.pages import PAGES, pages_of
from scripts.bench.peers import install
from scripts.bench.plot import plot
from scripts.bench.run import Run
from scripts.bench.tables import comparison, spread, table

RATE, MS = Column("per second", "more"), Column("ms", "less", 2)
ABOUT = {
    "machine": {"cores": 2, "cpu": "A", "memory_gb": 1, "kernel": "6", "python": "3"},
    "postgres": {"version": "PostgreSQL 18", "settings": {"fsync": "on"}},
    "project": {"version": "1", "commit": "abc", "changed": False},
    "method": {"rounds": 2, "seconds": 1, "rows": 1, "count": 1, "took_s": 1},
    "peers": {"Deno": "2"},
}


def figures(*rows: Row) -> dict[str, Figure]:
    return by_key(gather("page", [RATE, MS], rows))


def test_rounds_of_one_name_are_one_figure():
    found = figures(*(Row("a", [rate, ms]) for rate, ms in ((1, 9), (5, 7), (3, 8))))
    assert [figure.median for figure in found.values()] == [3, 8]
    assert found["page/a/per second"].spread == (1, 5)
    assert spread(found["page/a/ms"]) == "8.00 (7.00–9.00)"


def test_the_floor_is_the_last_one_before_a_row_or_the_named_one():
    found = figures(
        Row("floor: x", [10]),
        Row("a", [5]),
        Row("floor: y", [20]),
        Row("b", [5]),
        Row("c", [5], "floor: x"),
    )
    ratios = {figure.name: ratio_to_floor(figure, found) for figure in found.values()}
    assert ratios == {"floor: x": None, "a": 0.5, "floor: y": None, "b": 0.25, "c": 0.5}


def test_a_ratio_is_of_values_of_the_same_round():
    """The machine is ten times slower in the second round, and three times in the third."""
    [floor, mine] = figures(
        *(row for speed in (30, 3, 10) for row in (Row("floor", [speed]), Row("a", [speed / 2])))
    ).values()
    assert ratio(mine, floor) == 0.5
    mine.samples.append(100)  # of an unequal number of rounds, the medians'
    assert ratio(mine, floor) == pytest.approx(32.5 / 10 / 2, rel=1)


def test_a_row_with_more_values_than_columns_is_refused():
    with pytest.raises(ValueError, match="a has 3 values"):
        figures(Row("a", [1, 2, 3]))


def test_a_value_that_was_not_measured_is_left_out():
    assert [*figures(Row("a", [None, 2]))] == ["page/a/ms"]


def test_a_table_has_the_ratio_to_the_floor():
    lines = [*table([*figures(Row("floor", [10, 1]), Row("a", [5, 3])).values()])]
    assert lines[2].split() == ["a", "5", "3.00", "0.50"]


def test_a_comparison_marks_what_changed_beyond_both_spreads():
    names = {"faster": (20, 1), "slower": (5, 1), "within": (10, 1)}
    old = figures(*(Row(name, [rate, 1]) for name in names for rate in (9, 11)))
    new = figures(*(Row(name, [rate, ms]) for name, (rate, ms) in names.items()))
    new["page/slower/ms"].samples[:] = [2]
    marks = {line.split()[0]: line.split()[-1] for line in [*comparison(new, old)][1:]}
    assert marks["page/faster/per"] == "better"
    assert [line.split()[-1] for line in comparison(new, old) if "slower" in line] == [
        "worse",
        "worse",
    ]
    assert marks["page/within/ms"] == "1.00"


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = Run(ABOUT, [*figures(Row("floor", [1, 2]), Row("a", [3, 4])).values()])
    run.write(tmp_path / "bench.json")
    assert Run.read(tmp_path / "bench.json") == run


def test_options_come_from_the_environment():
    options = Options.from_env({"ROUNDS": "2", "PEERS": "1", "PAGES": "http jobs", "COMPARE": ""})
    assert (options.rounds, options.peers, options.compare) == (2, True, None)
    assert [*pages_of(options.pages)] == ["http", "jobs"]
    assert [*pages_of(())] == [*PAGES_OF_AIMS]
    assert [*pages_of(("all",))] == [*PAGES]
    with pytest.raises(ValueError, match="no httpp"):
        pages_of(("httpp",))


def test_the_check_takes_each_ratios_best_try():
    kept = {"rate": 0.5, "p50": 2.0, "gone": 1.0}
    first: check.Ratios = {"rate": (0.3, "more"), "p50": (2.7, "less"), "gone": (1, "more")}
    assert check.worse(first, kept) == ["rate", "p50"]
    second: check.Ratios = {"rate": (0.36, "more"), "p50": (3.0, "less")}
    assert check.worse(check.better_of(first, second), kept) == ["p50"]
    assert check.worse({}, kept) == [*kept]


def test_an_aim_is_held_against_a_bound_or_a_peer():
    found = figures(Row(f"{PEER}x", [10, 4]), Row("a", [25, 4]))
    rate, peer = "page/a/per second", f"page/{PEER}x/per second"
    assert Aim("", rate, 25).met(found)
    assert not Aim("", rate, 26).met(found)
    assert Aim("", rate, 2.5, peer).met(found)
    assert not Aim("", "page/a/ms", 0.9, f"page/{PEER}x/ms").met(found)
    assert Aim("", rate, 1, "page/absent/per second").met(found) is None


def test_an_aims_page_is_one_of_those_that_are_measured():
    assert {aim.figure.partition("/")[0] for aim in AIMS} <= {*PAGES_OF_AIMS}


def of_aims(value: float) -> list[Figure]:
    """Every figure that an aim names, and what it is held against."""
    keys = dict.fromkeys(key for aim in AIMS for key in (aim.beside, aim.figure) if key)
    return [
        Figure(page, name, unit, aim_better(unit), 1, None, [value, 2 * value])
        for page, rest in (key.split("/", 1) for key in keys)
        for name, unit in (rest.rsplit("/", 1),)
    ]


def aim_better(unit: str):
    return "more" if unit.startswith("per second") else "less"


def test_the_report_replaces_what_is_between_its_marks(monkeypatch, tmp_path, capsys):
    page, image = tmp_path / "PERFORMANCE.md", tmp_path / "performance.svg"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", "utf-8")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "PLOT", image)
    for name, value in (("one.json", 1.0), ("two.json", 30.0)):
        Run(ABOUT, of_aims(value)).write(tmp_path / name)
    assert report.main([str(tmp_path / "one.json"), str(tmp_path / "two.json")]) == 0
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "\nold\n" not in text
    assert "| 45.0 (30.0–60.0) per second |" in text
    assert capsys.readouterr().err == ""
    first = image.read_text("utf-8")
    assert report.main([str(tmp_path / "two.json")]) == 0
    assert (page.read_text("utf-8"), image.read_text("utf-8")) == (text, first)


def test_the_plot_is_xml_with_a_bar_for_each_figure():
    found = by_key(of_aims(7))
    tree = ElementTree.fromstring(plot(found))  # noqa: S314 - our own
    bars = tree.findall(".//{*}rect")
    plotted = [
        key
        for key in found
        if key.startswith(("http", "jobs", "enqueue")) and key.endswith("second")
    ]
    assert len(bars) >= 3 + len(plotted) - 1  # the legend's; GET has no panel
    assert {bar.get("class") for bar in bars} == {"ours", "peer", "floor"}


def test_the_manifests_pin_every_peer_and_name_no_registry():
    assert {"Deno", "graphile-worker", "pg-boss", "procrastinate", "pgqueuer", "postgres"} <= {
        *install.versions()
    }
    lock = (install.HERE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
