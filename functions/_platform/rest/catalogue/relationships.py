"""Relationships: foreign keys in both directions, extended to views, many to many, and computed ones."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from functions._platform.rest.catalogue.foreign_keys import Constraint, PrimaryKey
from functions._platform.rest.catalogue.model import (
    Computed,
    ForeignKey,
    Junction,
    Name,
    Pairs,
    Relationship,
    Table,
)
from functions._platform.rest.catalogue.view_columns import Views

COMPUTED = """
select coalesce(json_agg(
    json_build_array(
        spaces.nspname, routines.proname,
        own_schema.nspname, own.relname,
        other_schema.nspname, other.relname,
        not routines.proretset or routines.prorows = 1
    )
    order by spaces.nspname, routines.proname
), '[]')
from pg_proc as routines
join pg_namespace as spaces on spaces.oid = routines.pronamespace
join pg_class as own on own.reltype = routines.proargtypes[0] and own.relkind in ('r', 'v', 'm', 'f', 'p')
join pg_namespace as own_schema on own_schema.oid = own.relnamespace
join pg_class as other on other.reltype = routines.prorettype and other.relkind in ('r', 'v', 'm', 'f', 'p')
join pg_namespace as other_schema on other_schema.oid = other.relnamespace
where
    routines.pronargs = 1 and routines.prorettype <> 0
    and own_schema.nspname = any (%(schemas)s) and other_schema.nspname = any (%(schemas)s)
"""

CARDINALITIES = ("O2M", "M2O", "O2O", "M2M")
"""In upstream's order."""


def relationships_of(
    constraints: Sequence[Constraint],
    views: Views,
    tables: Mapping[Name, Table],
    primary_keys: Iterable[PrimaryKey],
    computed: list[list[Any]],
    schemas: Iterable[str],
) -> dict[Name, tuple[Relationship, ...]]:
    """By source table. Both sides, and a junction, are in ``schemas``.

    A table that is related through a junction of another schema only has an empty entry: upstream gives no hint for it.
    """
    exposed = frozenset(schemas)
    to_one = [
        relationship
        for constraint in constraints
        for relationship in _with_views(constraint, views)
        if {relationship.table.schema, relationship.foreign_table.schema} <= exposed
    ]
    found: dict[Name, list[Relationship]] = defaultdict(list)
    for table in _ends_of_hidden_junctions(constraints, primary_keys, exposed):
        found[table] = []
    overriding = {
        (each.table, each.function): each for each in (_read_computed(row) for row in computed)
    }
    for each in [*to_one, *map(_inverse, to_one), *_many_to_many(to_one, tables)]:
        # A function named like the foreign table takes the place of the relationships to it.
        if (each.table, each.foreign_table) not in overriding:
            found[each.table].append(each)
    for relationship in overriding.values():
        found[relationship.table].append(relationship)
    return {table: tuple(sorted(group, key=_order)) for table, group in found.items()}


def _with_views(constraint: Constraint, views: Views) -> Iterator[ForeignKey]:
    """A constraint's M2O or O2O, between its tables and all views of them that show the constraint's columns."""
    own_sides = [(constraint.own.name, constraint.own.columns, False)]
    own_sides += [(name, columns, True) for name, columns in views.of(constraint.own)]
    other_sides = [(constraint.other.name, constraint.other.columns, False)]
    other_sides += [(name, columns, True) for name, columns in views.of(constraint.other)]
    for table, columns, is_view in own_sides:
        for foreign_table, foreign_columns, foreign_is_view in other_sides:
            yield ForeignKey(
                table=table,
                foreign_table=foreign_table,
                cardinality="O2O" if constraint.one_to_one else "M2O",
                constraint=constraint.name,
                pairs=tuple(zip(columns, foreign_columns, strict=True)),
                table_is_view=is_view,
                foreign_is_view=foreign_is_view,
            )


def _inverse(relationship: ForeignKey) -> ForeignKey:
    return replace(
        relationship,
        table=relationship.foreign_table,
        foreign_table=relationship.table,
        cardinality="O2M" if relationship.cardinality == "M2O" else "O2O",
        pairs=_swapped(relationship.pairs),
        is_parent=relationship.cardinality == "O2O",
        table_is_view=relationship.foreign_is_view,
        foreign_is_view=relationship.table_is_view,
    )


def _many_to_many(
    to_one: Iterable[ForeignKey], tables: Mapping[Name, Table]
) -> Iterator[ForeignKey]:
    """Through every table whose primary key contains the columns of two foreign keys."""
    by_junction: dict[Name, list[ForeignKey]] = defaultdict(list)
    for each in to_one:
        table = tables.get(each.table)
        if (
            each.cardinality == "M2O"
            and table
            and {own for own, _ in each.pairs} <= set(table.primary_key)
        ):
            by_junction[each.table].append(each)
    for junction, candidates in by_junction.items():
        for source in candidates:
            for target in candidates:
                if source.constraint != target.constraint:
                    yield _through(junction, source, target)


def _ends_of_hidden_junctions(
    constraints: Iterable[Constraint], primary_keys: Iterable[PrimaryKey], exposed: frozenset[str]
) -> Iterator[Name]:
    keys = {key.oid: set(key.attnums) for key in primary_keys}
    by_junction: dict[int, list[Constraint]] = defaultdict(list)
    for each in constraints:
        is_part = set(each.own.attnums) <= keys.get(each.own.oid, set())
        if is_part and not each.one_to_one and each.own.name.schema not in exposed:
            by_junction[each.own.oid].append(each)
    for candidates in by_junction.values():
        if len(candidates) > 1:
            yield from (each.other.name for each in candidates if each.other.name.schema in exposed)


def _through(junction: Name, source: ForeignKey, target: ForeignKey) -> ForeignKey:
    return ForeignKey(
        table=source.foreign_table,
        foreign_table=target.foreign_table,
        cardinality="M2M",
        constraint=f"{source.constraint} and {target.constraint}",
        junction=Junction(
            table=junction,
            source_constraint=source.constraint,
            target_constraint=target.constraint,
            source=_swapped(source.pairs),
            target=_swapped(target.pairs),
        ),
        table_is_view=source.foreign_is_view,
        foreign_is_view=target.foreign_is_view,
    )


def _swapped(pairs: Pairs) -> Pairs:
    return tuple((other, own) for own, other in pairs)


def _read_computed(row: list[Any]) -> Computed:
    schema, function, own_schema, own, other_schema, other, to_one = row
    return Computed(
        Name(schema, function), Name(own_schema, own), Name(other_schema, other), to_one
    )


def _order(relationship: Relationship) -> tuple[Any, ...]:
    """Detected ones first, by foreign table, kind and constraint: the order of an ambiguous embed's details."""
    if isinstance(relationship, Computed):
        return (1, relationship.function)
    junction = relationship.junction
    return (
        0,
        relationship.foreign_table.schema,
        relationship.foreign_table.name,
        relationship.is_self,
        CARDINALITIES.index(relationship.cardinality),
        (
            junction.table,
            junction.source_constraint,
            junction.target_constraint,
            junction.source,
            junction.target,
        )
        if junction
        else (relationship.constraint, relationship.pairs, relationship.is_parent),
        relationship.table_is_view,
        relationship.foreign_is_view,
    )
