"""Charts as SVG files (pygal), shown by <img>: no script runs in them, and their style and the page's stay apart.

pygal writes a script, comments and the tooltips' data into each file; they are taken out, and its style is replaced by
the one below, which follows the reader's light or dark.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import pygal
from starlette.responses import Response

SVG = "{http://www.w3.org/2000/svg}"
HEADERS = {
    # The file's own: opened as a page it may have its style, and nothing else.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
WIDE, NARROW = (560, 220), (350, 200)
"""Pixels of a chart in a column of the page, and on a phone: text has the same size on both."""
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
.legend rect, .series .rect { stroke: none; }
.color-0 { --own: var(--a); } .color-1 { --own: var(--b); } .color-2 { --own: var(--c); }
.legend .color-0, .legend .color-1, .legend .color-2, .series .rect { fill: var(--own); }
.series .line { stroke: var(--own); stroke-width: 2; fill: none; stroke-linejoin: round; }
.series .area { fill: var(--own); fill-opacity: .12; stroke: none; }
.series .dot { fill: var(--own); stroke: none; }
"""
Series = Mapping[str, Sequence[float | None]]


def bars(series: Series, labels: Sequence[str], size: tuple[int, int]) -> bytes:
    """Stacked bars: a colour for each of up to three series, a bar for each label."""
    chart = pygal.StackedBar(**_options(size, labels), spacing=2, margin_right=4)
    chart.value_formatter = lambda value: f"{value:g}"
    return _drawn(chart, series, labels)


def lines(series: Series, labels: Sequence[str], size: tuple[int, int]) -> bytes:
    """Lines over times in seconds; None is a gap."""
    chart = pygal.Line(**_options(size, labels), allow_interruptions=True, dots_size=1.4)
    chart.value_formatter = _seconds
    return _drawn(chart, series, labels)


def svg(data: bytes) -> Response:
    return Response(data, media_type="image/svg+xml", headers=HEADERS)


def _options(size: tuple[int, int], labels: Sequence[str]) -> dict[str, object]:
    width, height = size
    return {
        "width": width,
        "height": height,
        "js": [],
        "css": [],
        "no_prefix": True,
        "margin": 4,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 3,
        "legend_box_size": 10,
        "show_minor_x_labels": False,
        "x_labels_major_count": 5 if width > 400 else 3,
        "truncate_label": 12,
        "y_labels_major_count": 3,
        "max_scale": 4,
        "min_scale": 2,
        "include_x_axis": True,
    }


def _drawn(chart: Any, series: Series, labels: Sequence[str]) -> bytes:
    chart.x_labels = list(labels)
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
