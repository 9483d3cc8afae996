"""A query and the catalogue → what to read: a tree of levels, an embed below the level that it belongs to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from functions._platform.rest import errors
from functions._platform.rest.catalogue.model import Catalogue, ForeignKey, Name
from functions._platform.rest.plan.aliases import Aliases
from functions._platform.rest.plan.columns import Columns
from functions._platform.rest.plan.model import (
    EVERYTHING,
    SOURCE,
    Column,
    Comparison,
    Condition,
    EmbedIsNull,
    JoinPair,
    Order,
    Read,
    Selected,
    Tree,
)
from functions._platform.rest.plan.paths import Places, placed
from functions._platform.rest.plan.relationships import find_relationship, is_to_one
from functions._platform.rest.plan.spreads import hoist_aggregates, order_spreads, show
from functions._platform.rest.query.tree import (
    OrderTerm,
    Query,
    Select,
    SelectField,
    SelectRelation,
    Window,
)


@dataclass(frozen=True)
class Bounds:
    """``source``: the rows come from a CTE (writing, calls). ``window``: of the root level. ``max_rows``:
    PGRST_DB_MAX_ROWS. ``writes``: the filters of the root level choose what is written, and all of that is answered:
    neither they nor any window or ``max_rows`` apply to the answer.
    """

    source: bool = False
    writes: bool = False
    window: Window = EVERYTHING
    max_rows: int | None = None
    aggregates: bool = False


def plan_read(catalogue: Catalogue, relation: Name, query: Query, bounds: Bounds) -> Read:
    """The levels of ``relation`` and its embeds. Raises RestError: PGRST108, 118, 123, 127, 200, 201."""
    places = placed(query)
    root = _Planner(catalogue, relation.schema, places, bounds).root(relation, query)
    if not bounds.aggregates:
        _refuse_aggregates(root)
    show(root)
    hoist_aggregates(root)
    order_spreads(root)
    root.window = bounds.window
    if bounds.max_rows is not None and not bounds.writes:
        _bound(root, bounds.max_rows)
    return root


class _Planner:
    def __init__(self, catalogue: Catalogue, schema: str, places: Places, bounds: Bounds) -> None:
        self._catalogue = catalogue
        self._schema = schema
        self._places = places
        self._bounds = bounds
        self._aliases = Aliases()

    def root(self, relation: Name, query: Query) -> Read:
        level = Read(relation, relation.name, shown_as=relation.name)
        if self._bounds.source:
            level.relation, level.alias = SOURCE, relation.name
        self._fill(level, relation, query.select, (), expanded=False)
        return level

    def _embed(
        self,
        parent: Read,
        origin: Name,
        asked: SelectRelation,
        index: tuple[int, ...],
        expanded: bool,
    ) -> Read:
        """The level of an embed of ``parent``, which reads ``origin``."""
        relationship = find_relationship(self._catalogue, origin, asked)
        foreign, depth = relationship.foreign_table, len(index)
        shown_as = asked.alias or asked.relation
        level = Read(
            foreign,
            asked.relation,
            alias=self._aliases.named(foreign.name, str(depth)),
            relationship=relationship,
            parent_alias=parent.alias,
            join=asked.join,
            embed_alias=self._aliases.named(relationship.table.name, shown_as, str(depth)),
            shown_as=shown_as,
        )
        if asked.spread:
            level.spread = "one" if is_to_one(relationship) else "many"
        if isinstance(relationship, ForeignKey):
            self._join(level, parent, relationship, depth)
        self._fill(level, foreign, asked.select, index, expanded=expanded)
        return level

    def _join(self, level: Read, parent: Read, key: ForeignKey, depth: int) -> None:
        child = Name("", level.alias or "")
        above = Name("", parent.alias) if parent.alias else parent.relation
        if key.junction is None:
            level.joins = tuple(JoinPair(child, theirs, above, ours) for ours, theirs in key.pairs)
            return
        level.junction_alias = self._aliases.named(key.junction.table.name, f"j{depth}")
        middle = Name("", level.junction_alias)
        level.joins = (
            *(JoinPair(middle, between, child, theirs) for theirs, between in key.junction.target),
            *(JoinPair(middle, between, above, ours) for ours, between in key.junction.source),
        )

    def _fill(
        self,
        level: Read,
        relation: Name,
        select: Iterable[Select],
        index: tuple[int, ...],
        *,
        expanded: bool,
    ) -> None:
        """Everything of ``level``, which reads ``relation``, and the levels below it."""
        columns = Columns(self._catalogue, relation)
        select = tuple(select)
        fields = [columns.selected(part) for part in select if isinstance(part, SelectField)]
        # PostgreSQL cannot group by "*": beside an aggregate the columns are named.
        expanded = expanded or level.spread == "many" or any(field.aggregate for field in fields)
        level.select = [
            _named(field, in_spread=level.spread is not None)
            for field in _without_stars(
                fields, columns, in_spread=level.spread is not None, expanded=expanded
            )
        ]
        level.children = [
            self._embed(level, relation, part, (*index, number), expanded)
            for number, part in enumerate(select)
            if isinstance(part, SelectRelation)
        ]
        place = self._places.get(index)
        if place is None:
            return
        if index or not self._bounds.writes:
            planned = (columns.condition(condition) for condition in place.conditions)
            level.where = [_on_embeds(condition, level.children) for condition in planned]
        level.order = [self._order(term, level, columns, relation) for term in place.order]
        if index and not self._bounds.writes:
            level.window = place.window

    def _order(self, term: OrderTerm, level: Read, columns: Columns, relation: Name) -> Order:
        if term.relation is None:
            return columns.order(term)
        found = next((embed for embed in level.children if embed.shown_as == term.relation), None)
        if found is None or found.relationship is None:
            raise errors.not_embedded(term.relation)
        if not is_to_one(found.relationship):
            raise errors.related_order_not_to_one(relation.name, found.shown_as)
        field = term.field
        column = Column(field.name, field.json_path, to_json=True)
        return Order(column, term.direction, term.nulls, embed=found.embed_alias)


def _without_stars(
    fields: Iterable[Selected], columns: Columns, *, in_spread: bool, expanded: bool
) -> Iterator[Selected]:
    """``fields``, with ``*`` written out where that is needed: beside aggregates and for data representations."""
    expanded = expanded or columns.are_represented
    for field in fields:
        if field.column.name != "*" or not expanded:
            yield field
        elif field.aggregate is None:
            yield from columns.all()
        elif in_spread and field.aggregate == "count":
            # count(*) in the parent's query would count its rows too.
            yield replace(field, column=replace(field.column, whole_row=True))
        else:
            yield field


def _named(field: Selected, *, in_spread: bool) -> Selected:
    """With the alias that the answer shows where PostgreSQL would choose another name for the expression."""
    column = field.column
    if field.alias is not None:
        return field
    if field.aggregate:
        return replace(field, alias=field.aggregate) if in_spread else field
    if column.path:
        keys = [step.key for step in column.path if isinstance(step.key, str)]
        return replace(field, alias=keys[-1] if keys else column.name)
    return replace(field, alias=column.name) if column.transform else field


def _on_embeds(condition: Condition, embeds: Iterable[Read]) -> Condition:
    """``embed=is.null`` asks for the embed, not for a column of that name."""
    if isinstance(condition, Tree):
        children = tuple(_on_embeds(child, embeds) for child in condition.children)
        return replace(condition, children=children)
    if (
        isinstance(condition, Comparison)
        and condition.filter.operator == "is"
        and condition.filter.value == "null"
        and not condition.column.path
    ):
        for embed in embeds:
            if embed.shown_as == condition.column.name:
                return EmbedIsNull(embed.embed_alias, condition.filter.negated)
    return condition


def _refuse_aggregates(level: Read) -> None:
    if any(field.aggregate for field in level.select):
        raise errors.aggregates_disabled()
    for child in level.children:
        _refuse_aggregates(child)


def _bound(level: Read, max_rows: int) -> None:
    level.max_rows = max_rows
    for child in level.children:
        _bound(child, max_rows)
