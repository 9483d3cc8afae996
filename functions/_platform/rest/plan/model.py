"""Plans as plain data: what a statement reads, writes or calls, with all names resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from functions._platform.rest.catalogue.model import Name, Parameter, Relationship, Routine
from functions._platform.rest.query.tree import (
    Aggregate,
    Direction,
    Filter,
    Join,
    JsonStep,
    Nulls,
    Window,
)

EVERYTHING = Window()
"""No limit."""
SOURCE = Name("", "pgrst_source")
"""The CTE that holds the rows of a writing statement or a function call, which the answer is read from."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as a query uses it. ``type`` "": the catalogue does not know it (computed columns, function results).

    ``to_json``: no json type, so ``->`` needs to_jsonb() first. ``transform``: the data representation's function.
    ``whole_row``: not the column but its row, for count() in a spread.
    """

    name: str
    path: tuple[JsonStep, ...] = ()
    to_json: bool = False
    type: str = ""
    base_type: str = ""
    transform: Name | None = None
    whole_row: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    column: Column
    alias: str | None = None
    cast: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """``filter`` has operator and value; its field is ``column``."""

    column: Column
    filter: Filter


@dataclass(frozen=True, slots=True)
class EmbedIsNull:
    """``embed=is.null`` (``negated``: not.is.null), by the embed's alias in the statement."""

    embed: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """``children`` joined by and/or; the planned form of ``Logic``."""

    operator: Literal["and", "or"]
    children: tuple["Condition", ...]
    negated: bool


Condition = Comparison | EmbedIsNull | Tree


@dataclass(frozen=True, slots=True)
class Order:
    """``embed``: the alias of the to-one embed whose column it is; None: a column of its own level."""

    column: Column
    direction: Direction | None = None
    nulls: Nulls | None = None
    embed: str | None = None


@dataclass(frozen=True, slots=True)
class JoinPair:
    """``left.column = right.column``; a Name without schema is an alias."""

    left: Name
    left_column: str
    right: Name
    right_column: str


@dataclass(frozen=True, slots=True)
class SpreadField:
    """A column of a spread embed as its parent shows it; an aggregate is one that was hoisted to the parent."""

    name: str
    alias: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None


@dataclass(frozen=True, slots=True)
class JsonEmbed:
    """An embed shown as an object (``to_one``) or an array. ``empty``: it selects nothing, so it is not shown."""

    alias: str
    name: str
    to_one: bool
    empty: bool


@dataclass(frozen=True, slots=True)
class SpreadEmbed:
    alias: str
    fields: tuple[SpreadField, ...]


@dataclass(frozen=True, slots=True)
class SpreadOrder:
    """A term of a to-many spread's order: selected beside its columns, from ``embed`` where given, then ordered by."""

    selected: Selected
    embed: str | None
    order: Order


@dataclass(slots=True)
class Read:
    """One level of a reading statement; mutable while it is planned.

    ``relation`` is read under ``alias``, joined to its parent by ``relationship``. ``embed_alias`` names its lateral
    subquery. ``shown``: how each of ``children`` appears in the answer, in their order.
    """

    relation: Name
    name: str
    """As the select list calls it."""
    alias: str | None = None
    relationship: Relationship | None = None
    parent_alias: str | None = None
    junction_alias: str | None = None
    joins: tuple[JoinPair, ...] = ()
    join: Join | None = None
    spread: Literal["one", "many"] | None = None
    embed_alias: str = ""
    shown_as: str = ""
    select: list[Selected] = field(default_factory=list)
    where: list[Condition] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    spread_order: list[SpreadOrder] = field(default_factory=list)
    window: Window = EVERYTHING
    max_rows: int | None = None
    """PGRST_DB_MAX_ROWS."""
    children: list["Read"] = field(default_factory=list)
    shown: list[JsonEmbed | SpreadEmbed] = field(default_factory=list)

    @property
    def selects_all(self) -> bool:
        """Whether only ``*`` is selected: custom media types of a relation take whole rows."""
        return not self.children and len(self.select) == 1 and self.select[0].column.name == "*"


@dataclass(frozen=True, slots=True)
class WrittenColumn:
    """A column that the body gives. ``transform``: from json. ``default``: SQL of its default, where wanted."""

    name: str
    type: str
    transform: Name | None
    default: str | None


@dataclass(frozen=True, slots=True)
class Insert:
    """``is_object``: the body is one, not an array. ``conflict``: (resolution, columns). ``where``: of a PUT, the key
    in the URL.
    """

    relation: Name
    columns: tuple[WrittenColumn, ...]
    is_object: bool
    returning: tuple[str, ...]
    primary_key: tuple[str, ...]
    conflict: tuple[Literal["merge", "ignore"], tuple[str, ...]] | None = None
    where: tuple[Condition, ...] = ()
    defaults: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    relation: Name
    columns: tuple[WrittenColumn, ...]
    is_object: bool
    returning: tuple[str, ...]
    where: tuple[Condition, ...]
    defaults: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    relation: Name
    returning: tuple[str, ...]
    where: tuple[Condition, ...]


Write = Insert | Update | Delete

Arguments = Mapping[str, str | tuple[str, ...]]
"""Arguments of the URL or a form: texts, several for a variadic parameter."""


@dataclass(frozen=True, slots=True)
class Call:
    """``parameters``: those given. ``arguments``: texts; None: they are in the body, an object (``is_object``), or the
    body is the one argument (``single``).
    """

    routine: Routine
    parameters: tuple[Parameter, ...]
    arguments: Arguments | None
    is_object: bool
    single: bool
    returning: tuple[str, ...]
    filtered: frozenset[str]


Format = Literal[
    "json", "json-stripped", "object", "object-stripped", "csv", "geojson", "value", "none"
]
"""How PostgreSQL makes the answer's body. "object": of the one row; "value": a function's result as it is, which has
its media type already; "none": no body is wanted."""


@dataclass(frozen=True, slots=True)
class Custom:
    """A body made by a custom media type's function, over rows of ``relation`` or, None, of any."""

    function: Name
    relation: Name | None


Body = Format | Custom
