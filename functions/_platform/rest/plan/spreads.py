"""How a level shows its embeds: as JSON, or their columns spread among its own."""

from dataclasses import replace
from typing import NamedTuple

from functions._platform.rest import errors
from functions._platform.rest.plan.model import (
    Column,
    JsonEmbed,
    Order,
    Read,
    Selected,
    SpreadEmbed,
    SpreadField,
    SpreadOrder,
)
from functions._platform.rest.plan.relationships import is_to_one
from functions._platform.rest.query.tree import Aggregate


class _Place(NamedTuple):
    """A column of a spread embed, as its parent sees it."""

    embed_alias: str
    name: str


class _Hoisted(NamedTuple):
    aggregate: Aggregate
    cast: str | None
    alias: str | None


def show(level: Read) -> None:
    """Fill in ``shown`` of all levels, the innermost first."""
    for child in level.children:
        show(child)
    level.shown = [_shown(child) for child in level.children]


def _shown(embed: Read) -> JsonEmbed | SpreadEmbed:
    if embed.spread:
        return SpreadEmbed(embed.embed_alias, tuple(_spread_fields(embed)))
    to_one = embed.relationship is not None and is_to_one(embed.relationship)
    return JsonEmbed(embed.embed_alias, embed.shown_as, to_one, _selects_nothing(embed))


def _spread_fields(embed: Read) -> list[SpreadField]:
    fields = [SpreadField(field.alias or field.column.name) for field in embed.select]
    for shown in embed.shown:
        if isinstance(shown, JsonEmbed):
            fields.append(SpreadField(shown.name))
        else:
            fields += [SpreadField(field.alias or field.name) for field in shown.fields]
    return fields


def _selects_nothing(level: Read) -> bool:
    return not level.select and all(map(_selects_nothing, level.children))


def hoist_aggregates(level: Read) -> dict[_Place, _Hoisted]:
    """Move aggregates out of to-one spreads, to the level whose rows they group: an array's, an object's, the root's.

    Within its own subquery an aggregate over a to-one embed would see one row. Returns what is still to be placed.
    """
    below: dict[_Place, _Hoisted] = {}
    for child in level.children:
        below |= hoist_aggregates(child)
    if level.spread != "one":
        level.shown = [_with_aggregates(shown, below) for shown in level.shown]
        return {}
    own = {
        _Place(level.embed_alias, field.alias or field.column.name): _Hoisted(
            field.aggregate, field.aggregate_cast, field.alias
        )
        for field in level.select
        if field.aggregate
    }
    level.select = [replace(field, aggregate=None, aggregate_cast=None) for field in level.select]
    return own | {_Place(level.embed_alias, place.name): told for place, told in below.items()}


def _with_aggregates(
    shown: JsonEmbed | SpreadEmbed, hoisted: dict[_Place, _Hoisted]
) -> JsonEmbed | SpreadEmbed:
    if isinstance(shown, JsonEmbed) or not hoisted:
        return shown
    fields = []
    for field in shown.fields:
        told = hoisted.get(_Place(shown.alias, field.name))
        fields.append(
            SpreadField(field.name, told.alias, told.aggregate, told.cast) if told else field
        )
    return SpreadEmbed(shown.alias, tuple(fields))


def order_spreads(level: Read) -> None:
    """A to-many spread's order orders its arrays, so the terms must be columns of its subquery. Raises PGRST127."""
    if level.spread == "many":
        _refuse_aggregates_in(level)
        level.spread_order = [
            _spread_order(level, term, number) for number, term in enumerate(level.order, 1)
        ]
        level.order = []
    for child in level.children:
        order_spreads(child)


def _refuse_aggregates_in(level: Read) -> None:
    spread = [shown for shown in level.shown if isinstance(shown, SpreadEmbed)]
    hoisted = any(field.aggregate for shown in spread for field in shown.fields)
    if hoisted or any(field.aggregate for field in level.select):
        raise errors.not_implemented(
            "Aggregates are not implemented for one-to-many or many-to-many spreads."
        )


def _spread_order(level: Read, term: Order, number: int) -> SpreadOrder:
    alias = f"{level.embed_alias}_{term.column.name}_{number}"
    selected = Selected(term.column, alias=alias)
    return SpreadOrder(selected, term.embed, Order(Column(alias), term.direction, term.nulls))
