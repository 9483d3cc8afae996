"""What make bench prints: a page's table, and the comparison of two runs."""

from collections.abc import Iterator, Mapping, Sequence

from scripts.bench.figures import Figure, by_key, ratio, ratio_to_floor

NAME = 58


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def spread(figure: Figure) -> str:
    """``1,234 (1,200–1,300)``; after one round without the bracket."""
    low, high = figure.spread
    text = number(figure.median, figure.digits)
    if len(figure.samples) == 1:
        return text
    return f"{text} ({number(low, figure.digits)}–{number(high, figure.digits)})"


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """Lines: the units, then each row's medians and spreads, and the first figure's ratio to its floor."""
    units = [*dict.fromkeys(figure.unit for figure in figures)]
    yield f"{'':{NAME}}" + "".join(f"{unit:>26}" for unit in units) + f"{'× floor':>10}"
    known = by_key(figures)
    for name in dict.fromkeys(figure.name for figure in figures):
        of_row = {figure.unit: figure for figure in figures if figure.name == name}
        cells = (spread(of_row[unit]) if unit in of_row else "" for unit in units)
        first = ratio_to_floor(next(iter(of_row.values())), known)
        compared = "" if first is None else f"{first:.2f}"
        yield f"{name:{NAME}}" + "".join(f"{cell:>26}" for cell in cells) + f"{compared:>10}"


def comparison(new: Mapping[str, Figure], old: Mapping[str, Figure]) -> Iterator[str]:
    """Lines: each figure's ratio to that of the old run; marked where the two spreads have nothing in common."""
    yield f"{'':{NAME + 24}}{'old':>14}{'new':>14}{'ratio':>8}"
    for key, figure in new.items():
        before = old.get(key)
        if before is None:
            continue
        times = ratio(figure, before)
        shown = "" if times is None else f"{times:.2f}"
        yield (
            f"{key:{NAME + 24}}{number(before.median, figure.digits):>14}"
            f"{number(figure.median, figure.digits):>14}{shown:>8}  {verdict(figure, before)}"
        ).rstrip()


def verdict(new: Figure, old: Figure) -> str:
    """``better`` or ``worse`` beyond both spreads, else nothing."""
    (new_low, new_high), (old_low, old_high) = new.spread, old.spread
    if new_low <= old_high and old_low <= new_high:
        return ""
    return "better" if (new_low > old_high) == (new.better == "more") else "worse"
