"""What a page measures: rows of figures, each with its unit, its direction and its floor; medians, spreads, ratios."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Better = Literal["more", "less"]
PEER = "peer: "
"""Prefix of a row that another project's program has made."""


@dataclass(frozen=True)
class Column:
    """A column of a page's table: what its figures are measured in, and whether more or less of it is better."""

    unit: str
    better: Better
    digits: int = 0


@dataclass(frozen=True)
class Row:
    """One round of one thing that is measured; a name that comes again is a further round of the same.

    ``floor``: the name of the row that it is compared with; None: the last row before it whose name begins with
    "floor" or "(a)". ``columns``: where they are not the page's.
    """

    name: str
    values: Sequence[float | None]
    floor: str | None = None
    columns: Sequence[Column] | None = None


@dataclass
class Figure:
    """One value of one row, by its name and unit, over all rounds."""

    page: str
    name: str
    unit: str
    better: Better
    digits: int
    floor: str | None
    samples: list[float] = field(default_factory=list[float])

    @property
    def key(self) -> str:
        """Its identity in all runs."""
        return f"{self.page}/{self.name}/{self.unit}"

    @property
    def floor_key(self) -> str:
        return f"{self.page}/{self.floor}/{self.unit}"

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest of all rounds."""
        return min(self.samples), max(self.samples)

    def to_json(self) -> dict[str, Any]:
        low, high = self.spread
        return {**asdict(self), "median": self.median, "min": low, "max": high}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


def is_floor(name: str) -> bool:
    return name.startswith(("floor", "(a)"))


def gather(page: str, columns: Sequence[Column], rows: Iterable[Row]) -> list[Figure]:
    """The figures of ``rows``, in the order of their first round. Raises ValueError for a row with too many values."""
    figures: dict[str, Figure] = {}
    floor: str | None = None
    for row in rows:
        if is_floor(row.name):
            floor = row.name
        compared = row.floor if row.floor is not None else floor
        of_row = row.columns or columns
        if len(row.values) > len(of_row):
            raise ValueError(f"{page}: {row.name} has {len(row.values)} values")
        for column, value in zip(of_row, row.values, strict=False):
            if value is None:
                continue
            named = None if compared == row.name else compared
            figure = Figure(page, row.name, column.unit, column.better, column.digits, named)
            figures.setdefault(figure.key, figure).samples.append(value)
    return [*figures.values()]


def ratio(figure: Figure, other: Figure) -> float | None:
    """``figure`` over ``other``: the median of the rounds' ratios, as a round's two are from the same moment.

    None: ``other`` is nothing.
    """
    if len(figure.samples) == len(other.samples) and all(other.samples):
        pairs = zip(figure.samples, other.samples, strict=True)
        return statistics.median(mine / its for mine, its in pairs)
    return figure.median / other.median if other.median else None


def ratio_to_floor(figure: Figure, figures: Mapping[str, Figure]) -> float | None:
    """None: it has no floor, or is one itself."""
    floor = figures.get(figure.floor_key)
    return ratio(figure, floor) if floor and figure.floor else None


def by_key(figures: Iterable[Figure]) -> dict[str, Figure]:
    return {figure.key: figure for figure in figures}
