"""The plot of docs/PERFORMANCE.md: bars with their spread, as SVG that follows the reader's light or dark scheme."""

from collections.abc import Iterator, Mapping
from html import escape

from scripts.bench.figures import PEER, Figure, is_floor
from scripts.bench.tables import number

PANELS = (
    ("start-generation, requests per second", "http", "per second",
     (", 1 connection", ", 64 connections", ", 128 connections")),
    ("no-op jobs, per second", "jobs", "per second", ("",)),
    ("jobs into the queue, per second", "enqueue", "per second", ("",)),
    ("pick-up by an idle worker, p50 in ms (less is better)", "wakeup", "p50 ms", ("",)),
)  # fmt: skip
"""Title, page, unit, endings of the names in groups."""
WIDTH, LABEL, BAR, STEP, PAD = 900, 400, 380, 22, 16
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px }
.ours { fill: #1a7f37 } .peer { fill: #8250df } .floor { fill: #8c959f } .spread { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .ours { fill: #3fb950 } .peer { fill: #a371f7 } .floor { fill: #6e7681 }
  .spread { stroke: #e6edf3 }
}
"""


def plot(figures: Mapping[str, Figure]) -> str:
    """The whole SVG; the same figures make the same text."""
    parts: list[str] = [*_legend()]
    y = 2 * STEP
    for title, page, unit, endings in PANELS:
        found = [
            figure
            for ending in endings
            for figure in figures.values()
            if figure.page == page and figure.unit == unit and figure.name.endswith(ending)
        ]
        if not found:
            continue
        y += STEP
        parts.append(f'<text class="title" x="{PAD}" y="{y}">{escape(title)}</text>')
        scale = BAR / max(figure.spread[1] for figure in found if not _outlies(figure, found))
        for figure in found:
            y += STEP
            parts += _bar(figure, y, scale)
        y += STEP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img"'
        f' aria-label="make bench: this project, its floors and its peers">\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def kind(name: str) -> str:
    """ours, peer or floor."""
    return "floor" if is_floor(name) else "peer" if name.startswith(PEER) else "ours"


def _outlies(figure: Figure, figures: list[Figure]) -> bool:
    """A floor far beyond all others would leave no length to tell them apart: its bar is cut."""
    others = [other.spread[1] for other in figures if kind(other.name) != "floor"]
    return kind(figure.name) == "floor" and bool(others) and figure.spread[1] > 1.5 * max(others)


def _bar(figure: Figure, y: int, scale: float) -> Iterator[str]:
    name, of = figure.name, kind(figure.name)
    length = min(BAR, figure.median * scale)
    cut = " …" if figure.median * scale > BAR else ""
    shown = escape(name.removeprefix(PEER).removeprefix("floor: "))
    yield f'<text x="{LABEL - 8}" y="{y}" text-anchor="end">{shown}</text>'
    yield f'<rect class="{of}" x="{LABEL}" y="{y - 12}" width="{length:.1f}" height="15" rx="2"/>'
    low, high = (LABEL + min(BAR, value * scale) for value in figure.spread)
    if not cut:
        yield f'<path class="spread" d="M{low:.1f} {y - 4.5}H{high:.1f}"/>'
    text = f"{number(figure.median, figure.digits)}{cut}"
    yield f'<text x="{LABEL + length + (0 if cut else high - LABEL - length) + 8:.1f}" y="{y}">{text}</text>'


def _legend() -> Iterator[str]:
    x = PAD
    for of, words in (("ours", "this project"), ("peer", "peer"), ("floor", "floor")):
        yield f'<rect class="{of}" x="{x}" y="{STEP - 12}" width="15" height="15" rx="2"/>'
        yield f'<text x="{x + 22}" y="{STEP}">{words}</text>'
        x += 130
    yield f'<text x="{x}" y="{STEP}">the line: least to greatest of all rounds; …: the bar is cut</text>'
