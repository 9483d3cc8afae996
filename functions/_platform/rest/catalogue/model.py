"""The schema cache as plain data: tables, columns, relationships, functions, casts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Name(NamedTuple):
    """A schema-qualified identifier, unquoted."""

    schema: str
    name: str


@dataclass(frozen=True)
class Column:
    """``type``: as the catalogue formats it (``character varying(10)``), a domain resolved to its base type;
    ``declared_type``: with the domain itself.
    """

    name: str
    type: str
    declared_type: str
    nullable: bool
    description: str | None = None
    max_length: int | None = None
    default: str | None = None
    """SQL of the default; of an identity column its nextval; None without any."""
    generated: bool = False
    """GENERATED ALWAYS, as identity or by an expression: no INSERT without OVERRIDING."""
    enum: tuple[str, ...] = ()
    is_composite: bool = False
    is_array: bool = False


@dataclass(frozen=True)
class Table:
    """A table, view, materialised view, foreign or partitioned table."""

    name: Name
    columns: Mapping[str, Column]
    """In their order."""
    primary_key: tuple[str, ...] = ()
    """Of a view: of its base table, as far as the view shows it."""
    description: str | None = None
    is_view: bool = False
    insertable: bool = True
    updatable: bool = True
    deletable: bool = True


Pairs = tuple[tuple[str, str], ...]
"""(own column, other side's column), in the order of the constraint."""


@dataclass(frozen=True)
class Junction:
    """The table in the middle of many to many. ``source``/``target``: (side's column, junction's column)."""

    table: Name
    source_constraint: str
    target_constraint: str
    source: Pairs
    target: Pairs


@dataclass(frozen=True)
class ForeignKey:
    """``table`` → ``foreign_table`` by a foreign key, in one of its directions; views included.

    ``cardinality``: of ``foreign_table`` as seen from ``table``: M2O and O2O are embedded as an object, O2M and M2M as
    an array. M2M has no ``pairs`` but a ``junction``. ``is_parent``: O2O, and ``table`` is the one referred to.
    """

    table: Name
    foreign_table: Name
    cardinality: Literal["M2O", "O2M", "O2O", "M2M"]
    constraint: str
    """Of M2M: ``<source_constraint>`` and ``<target_constraint>`` of the junction joined as upstream shows them."""
    pairs: Pairs = ()
    junction: Junction | None = None
    is_parent: bool = False
    table_is_view: bool = False
    foreign_is_view: bool = False

    @property
    def is_self(self) -> bool:
        return self.table == self.foreign_table


@dataclass(frozen=True)
class Computed:
    """A relationship by a function: ``function(table) returns [setof] foreign_table``."""

    function: Name
    table: Name
    foreign_table: Name
    to_one: bool

    @property
    def is_self(self) -> bool:
        return self.table == self.foreign_table


Relationship = ForeignKey | Computed


@dataclass(frozen=True)
class Parameter:
    """``name`` "" for an unnamed one."""

    name: str
    type: str
    required: bool
    variadic: bool = False
    cast_type: str = ""
    """``type``, but the variants of unlimited length of bit and character: a parameter's type has no length, and a cast
    to ``character`` would cut the value at one."""


@dataclass(frozen=True)
class Routine:
    """A function that can be called at /rpc/<name>."""

    oid: int
    name: Name
    parameters: tuple[Parameter, ...]
    returns: Name
    """The type that it returns, or of whose rows it returns a set."""
    returns_set: bool
    returns_composite: bool
    """A table's row type, a composite type, or OUT/TABLE columns (record)."""
    returns_void: bool
    is_alias: bool = False
    """The result is a domain over a composite type."""
    volatility: Literal["volatile", "stable", "immutable"] = "volatile"
    description: str | None = None
    isolation: str | None = None
    """As in ``role_isolation``: default_transaction_isolation among its settings (ALTER FUNCTION … SET)."""
    settings: tuple[tuple[str, str], ...] = ()
    """Its settings that must hold for the whole transaction, such as statement_timeout."""

    @property
    def variadic(self) -> bool:
        return any(parameter.variadic for parameter in self.parameters)


@dataclass(frozen=True)
class Handler:
    """A custom media type: an aggregate or function whose result is a domain named like the media type."""

    function: Name
    media_type: str
    """Lower case; ``*/*`` for any."""
    relation: Name | None
    """Of an aggregate: the relation whose rows it takes, None for any (anyelement). Of a function: its own name, which
    stands at /rpc in a relation's place."""
    is_aggregate: bool = True
    """False: the result of ``function`` has this media type already."""

    @property
    def content_type(self) -> str:
        return "application/octet-stream" if self.media_type == "*/*" else self.media_type


@dataclass(frozen=True)
class Catalogue:
    """Everything of the exposed schemas, and what relationships need of the others."""

    version: int
    """server_version_num."""
    tables: Mapping[Name, Table]
    relationships: Mapping[Name, tuple[Relationship, ...]]
    """By source table, in upstream's order: its errors list them so. Both sides are in exposed schemas."""
    routines: Mapping[Name, tuple[Routine, ...]]
    """All overloads of a name, the fewest parameters first."""
    casts: Mapping[tuple[str, str], Name]
    """Data representations: (source type, target type) → the implicit cast's function, for domains."""
    handlers: tuple[Handler, ...]
    role_settings: Mapping[str, Mapping[str, str]]
    """Role → its ALTER ROLE … SET settings that a request's transaction takes over."""
    role_isolation: Mapping[str, str]
    """Role → "read committed", "repeatable read" or "serializable", where its settings name one."""
