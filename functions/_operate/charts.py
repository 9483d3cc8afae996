"""Charts as SVG files (pygal), shown by <img>: no script runs in them, and their style and the page's stay apart.

pygal writes a script, comments and the tooltips' data into each file; they are taken out, and its style is replaced by
the one below, which follows the reader's light or dark.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from xml.etree import ElementTree

from starlette.responses import Response

SVG = "{http://www.w3.org/2000/svg}"
HEADERS = {
    # The file's own: opened as a page it may have its style, and nothing else.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
WIDE, NARROW = (380, 190), (340, 180)
"""Pixels of a chart in a column of the page, and on a phone: as wide as it is shown, so that text is not scaled."""
STYLE = """
:root { color-scheme: light dark; --ink: #665d55; --line: #e9e3da; --a: #2f7d5b; --b: #b3261e; --c: #a39a90; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #b3a99f; --line: #372f29; --a: #58b98c; --b: #ff8a7d; --c: #7d746b; }
}
text { font: 12px system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; fill: var(--ink); stroke: none; }
.axis.y text { text-anchor: end; }
.axis.x text { text-anchor: middle; }
.background, .guides title { fill: none; }
.guide.line, .axis .line, .axis path { stroke: var(--line); stroke-width: 1; fill: none; }
.color-0 { --own: var(--a); } .color-1 { --own: var(--b); } .color-2 { --own: var(--c); }
.series .rect { fill: var(--own); stroke: none; }
.series .line { stroke: var(--own); stroke-width: 2; fill: none; stroke-linejoin: round; }
.series .area { fill: var(--own); fill-opacity: .12; stroke: none; }
.series .dot { fill: var(--own); stroke: none; }
"""
FONT_PX = 13
"""What pygal leaves room for; STYLE has the font itself, in 12 px."""
HEADROOM = 1.15
"""How far the axis of times reaches above the greatest: a line along the edge is not seen."""
Series = Mapping[str, Sequence[float | None]]


def bars(series: Series, labels: Sequence[str], size: tuple[int, int]) -> bytes:
    """Stacked bars: a colour for each of up to three series, a bar for each label."""
    chart = _pygal().StackedBar(**_options(size), spacing=2)
    chart.value_formatter = lambda value: f"{value:g}"
    return _drawn(chart, series, labels)


def lines(series: Series, labels: Sequence[str], size: tuple[int, int]) -> bytes:
    """Lines over times in seconds; None is a gap."""
    most = max((value for row in series.values() for value in row if value is not None), default=1)
    options = _options(size)
    chart = _pygal().Line(
        **options, allow_interruptions=True, dots_size=1.4, range=(0, HEADROOM * most)
    )
    chart.value_formatter = _seconds
    return _drawn(chart, series, labels)


def svg(data: bytes) -> Response:
    return Response(data, media_type="image/svg+xml", headers=HEADERS)


@cache
def _pygal() -> Any:
    """Imported at the first chart: 50 ms, which the start of a gateway need not take."""
    import pygal
    import pygal.style

    # Its hook for plugins lacks find_spec: every later import of the process would warn, and ask it first.
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != pygal.__name__]
    return pygal


def _options(size: tuple[int, int]) -> dict[str, object]:
    width, height = size
    return {
        "width": width,
        "height": height,
        "js": [],
        "css": [],
        "no_prefix": True,
        "margin": 4,
        "margin_right": 20,
        "show_legend": False,  # the page has it, as text
        "show_minor_x_labels": False,
        "x_labels_major_count": 4,
        "truncate_label": -1,
        "style": _pygal().style.Style(label_font_size=FONT_PX, major_label_font_size=FONT_PX),
        "y_labels_major_count": 3,
        "max_scale": 4,
        "min_scale": 2,
        "include_x_axis": True,
    }


def _drawn(chart: Any, series: Series, labels: Sequence[str]) -> bytes:
    # pygal finds the labels that it shows by their text, so that each has to be another one: spaces are not drawn.
    chart.x_labels = [f"{label}{' ' * place}" for place, label in enumerate(labels)]
    for name, values in series.items():
        chart.add(name, list(values))
    root: ElementTree.Element = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{SVG}script", f"{SVG}desc", "script", "desc"} or callable(child.tag):
                parent.remove(child)
            elif child.tag in {f"{SVG}style", "style"}:
                child.text = STYLE
    drawn: bytes = ElementTree.tostring(root, "utf-8")
    return drawn


def _seconds(value: float) -> str:
    if value >= 120:
        return f"{value / 60:.0f} min"
    return f"{value:.3g} s"
