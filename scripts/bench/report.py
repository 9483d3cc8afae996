"""``python -m scripts.bench.report bench.json …``: the tables and the plot of docs/PERFORMANCE.md, from runs' JSON.

Of several files a page is taken from the last that has it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scripts.bench.aims import AIMS, Aim
from scripts.bench.children import PROJECT
from scripts.bench.figures import PEER, Figure, by_key, is_floor, ratio_to_floor
from scripts.bench.plot import plot
from scripts.bench.run import Run
from scripts.bench.tables import number, spread

PAGE = PROJECT / "docs" / "PERFORMANCE.md"
PLOT = PROJECT / "docs" / "images" / "performance.svg"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
COMPARED = ("http", "jobs", "enqueue", "wakeup")
"""Pages with peers: their rows are in the second table."""


def main(files: Sequence[str]) -> int:
    try:
        runs = [Run.read(Path(file)) for file in files]
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if not runs:
        print("Name the JSON of a run of make bench", file=sys.stderr)
        return 2
    figures = merged(runs)
    text = PAGE.read_text("utf-8")
    PAGE.write_text(filled(text, [*_circumstances(runs[-1]), "", *tables(figures)]), "utf-8")
    PLOT.write_text(plot(by_key(figures)), "utf-8")
    known = by_key(figures)
    for aim in AIMS:
        if aim.value(known) is None:
            print(f"not measured: {aim.what} ({aim.figure})", file=sys.stderr)
    return 0


def merged(runs: Sequence[Run]) -> list[Figure]:
    """The figures of all pages, each page's of the last run that has it."""
    pages: dict[str, list[Figure]] = {}
    for run in runs:
        of_run: dict[str, list[Figure]] = {}
        for figure in run.figures:
            of_run.setdefault(figure.page, []).append(figure)
        pages |= of_run
    return [figure for figures in pages.values() for figure in figures]


def filled(text: str, lines: Sequence[str]) -> str:
    """``text`` with ``lines`` between BEGIN and END. Raises ValueError where they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def tables(figures: Sequence[Figure]) -> Iterator[str]:
    """Markdown: the aims, then each page with peers."""
    known = by_key(figures)
    yield "| Aim | Measured (least–greatest) | Floor | × floor | Held against | Bound | Reached |"
    yield "|---|---|---|---|---|---|---|"
    for aim in AIMS:
        if aim.figure in known:
            yield _aim(aim, known)
    for page in COMPARED:
        of_page = [figure for figure in figures if figure.page == page]
        if of_page:
            yield ""
            yield from _peers(of_page, known)


def _aim(aim: Aim, known: Mapping[str, Figure]) -> str:
    figure, value, met = known[aim.figure], aim.value(known), aim.met(known)
    sign = "≥" if figure.better == "more" else "≤"
    floor, times = known.get(figure.floor_key), ratio_to_floor(figure, known)
    other = known.get(aim.beside or "")
    held = f"{other.name}: {_cell(other)} ({_ratio(value)})" if other else ""
    bound = (
        f"{sign} {aim.bound:g} ×" if aim.beside else f"{sign} {number(aim.bound, figure.digits)}"
    )
    reached = "not measured" if met is None else "yes" if met else "no"
    cells = (
        aim.what, _cell(figure), _cell(floor) if floor else "", _ratio(times), held, bound, reached,
    )  # fmt: skip
    return _line(cells)


def _peers(figures: Sequence[Figure], known: Mapping[str, Figure]) -> Iterator[str]:
    units = [*dict.fromkeys(figure.unit for figure in figures)]
    yield _line([figures[0].page, *units, "× floor"])
    yield "|---" * (len(units) + 2) + "|"
    for name in dict.fromkeys(figure.name for figure in figures):
        of_row = {figure.unit: figure for figure in figures if figure.name == name}
        shown = name if is_floor(name) or name.startswith(PEER) else f"**{name}**"
        cells = [spread(of_row[unit]) if unit in of_row else "" for unit in units]
        yield _line([shown, *cells, _ratio(ratio_to_floor(next(iter(of_row.values())), known))])


def _cell(figure: Figure) -> str:
    return f"{spread(figure)} {figure.unit.removeprefix('p50 ').removeprefix('p99 ').partition(',')[0]}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _circumstances(run: Run) -> Iterator[str]:
    about = run.about
    machine, postgres, method = about["machine"], about["postgres"], about["method"]
    project = about["project"]
    settings = ", ".join(f"`{name}={value}`" for name, value in postgres["settings"].items())
    peers = ", ".join(f"{name} {version}" for name, version in about["peers"].items())
    yield (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, Linux {machine['kernel']}, Python"
        f" {machine['python']}; {postgres['version']} with {settings}."
    )
    yield (
        f"Version {project['version']}, commit `{project['commit']}`. {method['rounds']} rounds,"
        f" {method['seconds']} s a timed cell.{f' Peers: {peers}.' if peers else ''}"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
