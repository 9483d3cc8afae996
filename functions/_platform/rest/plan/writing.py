"""A writing request → what to insert, update or delete."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from functions._platform.rest import errors
from functions._platform.rest.catalogue.model import Catalogue, Name, Table
from functions._platform.rest.plan.columns import Columns
from functions._platform.rest.plan.model import (
    Comparison,
    Condition,
    Delete,
    Insert,
    Read,
    Update,
    Write,
    WrittenColumn,
)
from functions._platform.rest.plan.returning import returned
from functions._platform.rest.query.tree import Filter, Query

Method = Literal["POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True)
class Written:
    """``keys``: the columns that the body has, or those that ``columns=`` chooses. ``is_object``: it is one, not an
    array. ``returns``: the written rows are wanted, or their keys.
    """

    is_object: bool
    keys: Collection[str]
    resolution: Literal["merge", "ignore"] | None
    defaults: bool
    returns: bool


def plan_write(
    catalogue: Catalogue, method: Method, relation: Name, query: Query, read: Read, given: Written
) -> Write:
    """Raises RestError: PGRST105, PGRST204."""
    table = catalogue.tables[relation]
    columns = Columns(catalogue, relation)
    where = tuple(columns.condition(asked) for asked in query.conditions.get((), ()))
    returning = returned(read, table.primary_key) if given.returns else ()
    if method == "DELETE":
        return Delete(relation, returning, where)
    if method == "PUT" and not _is_key(where, table):
        raise errors.invalid_put_filters()
    defaults = given.defaults and method != "PUT"
    written = _written(columns, relation, given.keys, defaults=defaults)
    if method == "PATCH":
        return Update(relation, written, given.is_object, returning, where, defaults)
    conflict = query.on_conflict if query.on_conflict is not None else table.primary_key
    return Insert(
        relation,
        written,
        given.is_object,
        returning,
        table.primary_key,
        conflict=_conflict(method, table, given, conflict),
        where=where if method == "PUT" else (),
        defaults=defaults,
    )


def _conflict(
    method: Method, table: Table, given: Written, conflict: tuple[str, ...]
) -> tuple[Literal["merge", "ignore"], tuple[str, ...]] | None:
    if method == "PUT":
        return "merge", table.primary_key
    return (given.resolution, conflict) if given.resolution else None


def _written(
    columns: Columns, relation: Name, keys: Collection[str], *, defaults: bool
) -> tuple[WrittenColumn, ...]:
    written = []
    for key in sorted(keys):
        column = columns.written(key, defaults=defaults)
        if column is None:
            raise errors.no_column(relation.name, key)
        written.append(column)
    return tuple(written)


def _is_key(where: tuple[Condition, ...], table: Table) -> bool:
    """Whether ``where`` is ``eq`` of exactly the primary key's columns."""
    asked = [told.filter for told in where if isinstance(told, Comparison)]
    return (
        len(asked) == len(where)
        and bool(table.primary_key)
        and {told.field.name for told in asked} == set(table.primary_key)
        and all(map(_is_plain, asked))
    )


def _is_plain(asked: Filter) -> bool:
    plain = asked.operator == "eq" and not asked.negated and asked.quantifier is None
    return plain and not asked.field.json_path
