"""Parts of a query that stand under an embed's path (``clients.name=eq.x``) → the embed in the select list."""

from collections.abc import Mapping
from dataclasses import dataclass

from functions._platform.rest import errors
from functions._platform.rest.plan.model import EVERYTHING
from functions._platform.rest.query.tree import (
    Condition,
    OrderTerm,
    Path,
    Query,
    Select,
    SelectRelation,
    Window,
)

Index = tuple[int, ...]
"""Positions in the select lists that lead to an embed; () is the root."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a query says of one level."""

    conditions: tuple[Condition, ...] = ()
    order: tuple[OrderTerm, ...] = ()
    window: Window = EVERYTHING


Places = Mapping[Index, Place]


def placed(query: Query) -> Places:
    """Raises RestError (PGRST108) for a path that leads to no embed."""
    return {
        index: Place(
            query.conditions.get(path, ()),
            query.order.get(path, ()),
            query.windows.get(path, EVERYTHING),
        )
        for path in _paths(query)
        for index in [_index(query.select, path)]
    }


def legacy_names(query: Query) -> list[tuple[str, str]]:
    """(relation, alias) of embeds that a path calls by the relation although they have an alias: deprecated."""
    found: dict[Index, tuple[str, str]] = {}
    for path in _paths(query):
        select = query.select
        index: Index = ()
        for name in path:
            number, embed = _child(select, name)
            select, index = embed.select, (*index, number)
            if embed.alias and embed.alias != name:
                found[index] = (embed.relation, embed.alias)
    return [found[index] for index in sorted(found)]


def _paths(query: Query) -> set[Path]:
    return {*query.conditions, *query.order, *query.windows}


def _index(select: tuple[Select, ...], path: Path) -> Index:
    if not path:
        return ()
    number, embed = _child(select, path[0])
    return (number, *_index(embed.select, path[1:]))


def _child(select: tuple[Select, ...], name: str) -> tuple[int, SelectRelation]:
    for number, part in enumerate(select):
        if isinstance(part, SelectRelation) and name in {part.relation, part.alias}:
            return number, part
    raise errors.not_embedded(name)
