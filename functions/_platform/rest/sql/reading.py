"""A level to read → SELECT, each embed a lateral subquery; and the query that counts the root's rows."""

from functions._platform.rest.catalogue.model import Computed, Name
from functions._platform.rest.plan.model import (
    Condition,
    EmbedIsNull,
    JoinPair,
    JsonEmbed,
    Read,
    Selected,
    SpreadEmbed,
    SpreadField,
    Tree,
)
from functions._platform.rest.sql.expressions import (
    aggregated,
    column,
    condition,
    ordered,
    selected,
    value_of,
)
from functions._platform.rest.sql.fragment import Fragment, bound, joined, qualified, quoted


def select(level: Read) -> Fragment:
    of = _of(level)
    shown = [selected(of, field) for field in level.select]
    if not shown and not level.children:
        shown.append([column(of, "*")])
    for spread in level.spread_order:
        source = Name("", spread.embed) if spread.embed else of
        shown.append(selected(source, spread.selected))
    for embed in level.shown:
        shown += _shown(embed)
    pieces = ["select ", *joined(", ", shown), *_from(level)]
    for embed, child in zip(level.shown, level.children, strict=True):
        pieces += _lateral(embed, child)
    pieces += _where([condition(of, asked) for asked in level.where], level)
    return [*pieces, *_grouped(level, of), *ordered(of, level.order), *_window(level)]


def count(level: Read) -> Fragment:
    """One row per row of the root, whatever its window; inner joins become EXISTS."""
    of = _of(level)
    conditions = [_counted(of, asked, level) for asked in level.where]
    conditions += [
        ["exists (", *count(child), ")"] for child in level.children if child.join == "inner"
    ]
    return ["select 1", *_from(level), *_where(conditions, level)]


def _counted(of: Name, asked: Condition, level: Read) -> Fragment:
    """Without the lateral subqueries an embed's absence is a NOT EXISTS."""
    if isinstance(asked, Tree):
        children = (_counted(of, child, level) for child in asked.children)
        negation = "not " if asked.negated else ""
        return [f"{negation}(", *joined(f" {asked.operator} ", children), ")"]
    if isinstance(asked, EmbedIsNull):
        embed = next(child for child in level.children if child.embed_alias == asked.embed)
        return [f"{'' if asked.negated else 'not '}exists (", *count(embed), ")"]
    return condition(of, asked)


def _of(level: Read) -> Name:
    return Name("", level.alias) if level.alias else level.relation


def _from(level: Read) -> Fragment:
    related = level.relationship
    source = qualified(level.relation)
    if isinstance(related, Computed):
        # The cast chooses the overload for this table: within a CTE the row's type is an anonymous record.
        row = quoted(level.parent_alias or related.table.name)
        source = f"{qualified(related.function)}({row}::{qualified(related.table)})"
    pieces = f" from {source}" + (f" as {quoted(level.alias)}" if level.alias else "")
    if related and not isinstance(related, Computed) and related.junction:
        assert level.junction_alias
        pieces += f", {qualified(related.junction.table)} as {quoted(level.junction_alias)}"
    return [pieces]


def _where(conditions: list[Fragment], level: Read) -> Fragment:
    conditions = conditions + [[_join_pair(pair)] for pair in level.joins]
    return [" where ", *joined(" and ", conditions)] if conditions else []


def _join_pair(pair: JoinPair) -> str:
    return f"{column(pair.left, pair.left_column)} = {column(pair.right, pair.right_column)}"


def _window(level: Read) -> Fragment:
    """The setting's own number is no parameter: with a bound LIMIT or OFFSET a generic plan looks dear to PostgreSQL,
    which then plans the statement anew at every execution.
    """
    limit, offset, most = level.window.limit, level.window.offset, level.max_rows
    pieces: Fragment = []
    if limit is not None and (most is None or limit < most):
        pieces += [" limit ", bound(str(limit))]
    elif most is not None:
        pieces.append(f" limit {most}")
    return [*pieces, " offset ", bound(str(offset))] if offset else pieces


def _shown(embed: JsonEmbed | SpreadEmbed) -> list[Fragment]:
    alias = quoted(embed.alias)
    if isinstance(embed, SpreadEmbed):
        return [_spread_field(embed.alias, field) for field in embed.fields]
    if embed.empty:
        return []
    if embed.to_one:
        return [[f"row_to_json({alias}.*)::jsonb as {quoted(embed.name)}"]]
    return [[f"coalesce({alias}.{alias}, '[]') as {quoted(embed.name)}"]]


def _spread_field(embed: str, field: SpreadField) -> Fragment:
    plain: Fragment = [column(Name("", embed), field.name)]
    pieces = aggregated(plain, field.aggregate, field.aggregate_cast)
    return [*pieces, " as ", quoted(field.alias)] if field.alias is not None else pieces


def _lateral(embed: JsonEmbed | SpreadEmbed, child: Read) -> Fragment:
    """The join of an embed: to one a row, to many all rows aggregated."""
    alias, inner = quoted(embed.alias), child.join == "inner"
    subquery, matches = select(child), "true"
    if not (embed.to_one if isinstance(embed, JsonEmbed) else child.spread == "one"):
        rows = [f"json_agg({alias})::jsonb as {alias}"]
        if isinstance(embed, SpreadEmbed):
            rows += [_array(embed.alias, field, child) for field in embed.fields]
        subquery = [f"select {', '.join(rows)} from (", *subquery, f") as {alias}"]
        matches = f"{alias} is not null" if inner else "true"
    kind = "inner" if inner else "left"
    return [f" {kind} join lateral (", *subquery, f") as {alias} on {matches}"]


def _array(embed: str, field: SpreadField, child: Read) -> str:
    """A column of a to-many spread: the values of all its rows. Its order has neither paths nor values."""
    of = Name("", embed)
    order = "".join(
        str(piece) for piece in ordered(of, [term.order for term in child.spread_order])
    )
    name = quoted(field.alias or field.name)
    return f"coalesce(json_agg({column(of, field.name)}{order}), '[]')::jsonb as {name}"


def _grouped(level: Read, of: Name) -> Fragment:
    spreads = [embed for embed in level.shown if isinstance(embed, SpreadEmbed)]
    hoisted = any(field.aggregate for spread in spreads for field in spread.fields)
    if not hoisted and not any(field.aggregate for field in level.select):
        return []
    terms = [_group_term(field, of) for field in level.select if not field.aggregate]
    for embed in level.shown:
        if isinstance(embed, SpreadEmbed):
            plain = (field for field in embed.fields if not field.aggregate)
            terms.extend([column(Name("", embed.alias), field.name)] for field in plain)
        elif not embed.empty:
            terms.append([quoted(embed.name)])
    return [" group by ", *joined(", ", terms)] if terms else []


def _group_term(field: Selected, of: Name) -> Fragment:
    return value_of(of, field.column) if field.alias is None else [quoted(field.alias)]
