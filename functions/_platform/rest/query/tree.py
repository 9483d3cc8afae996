"""The syntax tree of a query string: plain data, every text as the client sent it (percent-decoded, nothing quoted)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Path = tuple[str, ...]
"""The embeds that lead to a part of the answer, by alias or name, from the outermost; () is the root."""
Direction = Literal["asc", "desc"]
Nulls = Literal["first", "last"]
Join = Literal["inner", "left"]
Aggregate = Literal["avg", "count", "max", "min", "sum"]


@dataclass(frozen=True)
class JsonStep:
    """``->key`` or ``->>key`` (``as_text``); ``key`` is an int for an array's index."""

    key: str | int
    as_text: bool


@dataclass(frozen=True)
class Field:
    """A column, computed column or JSON path. ``name`` "*" only within ``SelectField``."""

    name: str
    json_path: tuple[JsonStep, ...] = ()


@dataclass(frozen=True)
class SelectField:
    """``alias:name->path::cast``, or ``name::cast.sum()::aggregate_cast``; ``count()`` alone has the field "*"."""

    field: Field
    alias: str | None = None
    cast: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None


@dataclass(frozen=True)
class SelectRelation:
    """``alias:relation!hint!inner(…)``, or ``...relation(…)`` (``spread``). ``select`` of () embeds nothing to show."""

    relation: str
    alias: str | None = None
    hint: str | None = None
    join: Join | None = None
    spread: bool = False
    select: tuple["Select", ...] = ()


Select = SelectField | SelectRelation


@dataclass(frozen=True)
class Filter:
    """``field=not.op(language or any/all).value``; ``operator`` as in the URL (eq, fts, cs, is, in, isdistinct …).

    ``value``: a tuple for ``in``, and for any/all the raw ``{…}`` text; for ``is`` one of null, not_null, true, false,
    unknown. ``field.name`` may be an embed of its level (``embed=is.null``): the planner tells by the catalogue.
    """

    field: Field
    operator: str
    value: str | tuple[str, ...]
    negated: bool = False
    quantifier: Literal["any", "all"] | None = None
    language: str | None = None


@dataclass(frozen=True)
class Logic:
    """``and=(…)``, ``or=(…)``, nested to any depth within the parser's bound."""

    operator: Literal["and", "or"]
    children: tuple["Condition", ...]
    negated: bool = False


Condition = Filter | Logic


@dataclass(frozen=True)
class OrderTerm:
    """``relation(field).desc.nullslast``; ``relation`` None: a column of its own level."""

    field: Field
    direction: Direction | None = None
    nulls: Nulls | None = None
    relation: str | None = None


@dataclass(frozen=True)
class Window:
    """limit and offset; None: no limit. Negative values and those beyond bigint are refused by the parser."""

    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True)
class Query:
    """A parsed query string. The parts of embeds stand under their ``Path``; conditions at one path are ANDed.

    ``conditions`` holds filters and logic trees alike, in the order of the URL. ``arguments``: for GET and HEAD /rpc
    alone (``is_call``), the pairs whose value is no operator expression, in the order of the URL; keys may repeat.
    """

    select: tuple[Select, ...] = (SelectField(Field("*")),)
    conditions: Mapping[Path, tuple[Condition, ...]] = field(default_factory=dict)
    order: Mapping[Path, tuple[OrderTerm, ...]] = field(default_factory=dict)
    windows: Mapping[Path, Window] = field(default_factory=dict)
    columns: frozenset[str] | None = None
    on_conflict: tuple[str, ...] | None = None
    arguments: tuple[tuple[str, str], ...] = ()
