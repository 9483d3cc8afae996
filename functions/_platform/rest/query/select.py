"""``select=``: columns, casts, aggregates, JSON paths, and embeds to any depth within the bound."""

import re
from dataclasses import replace

from functions._platform.rest.query.text import (
    END,
    IN_IDENTIFIER,
    MAX_DEPTH,
    NAME_LABEL,
    Scanner,
    TooDeep,
    Unparsable,
)
from functions._platform.rest.query.tree import (
    Aggregate,
    Field,
    Join,
    Select,
    SelectField,
    SelectRelation,
)

COUNT = re.compile(r"count\(\)(?:::([\w $]+))?(?=[,)]|\Z)")
"""The aggregate without a column."""
AGGREGATES: tuple[Aggregate, ...] = ("sum", "avg", "count", "max", "min")
BEGINS_NAME = re.compile(r'[\w $"]')
ITEM_ENDS = ('")"', '","', END)


def select_list(scanner: Scanner, depth: int = 0) -> tuple[Select, ...]:
    """Items between commas; stops before what is neither. No item at all is an empty list."""
    first = _item(scanner, depth, begins="...")
    if isinstance(first, Unparsable):
        if depth and not scanner.at(")"):
            here = first.at == scanner.pos
            raise first.expecting('")"') if here else first
        return ()
    items = [first]
    while scanner.comma(items):
        item = _item(scanner, depth)
        if isinstance(item, Unparsable):
            raise item
        items.append(item)
    return tuple(items)


def _item(scanner: Scanner, depth: int, begins: str = "") -> Select | Unparsable:
    """One item. Where none begins the error is returned, not raised: a list may be empty.

    ``begins``: the text that upstream compares first.
    """
    blanks = scanner.blanks()
    if scanner.at("..."):
        return _spread(scanner, depth, blanks)
    if scanner.at("*"):
        return _star(scanner, blanks)
    if BEGINS_NAME.match(scanner.text, scanner.pos):
        return _named(scanner, depth)
    if blanks:
        scanner.fail(('"*"', NAME_LABEL, '"count()"'))
    return scanner.failure(('"..."', NAME_LABEL, '"*"', '"count()"'), literal=begins)


def _star(scanner: Scanner, blanks: bool) -> SelectField | Unparsable:
    scanner.skip("*")
    if scanner.at_end() or scanner.text[scanner.pos] in ",)":
        scanner.missed(*ITEM_ENDS)
        return SelectField(Field("*"))
    error = scanner.failure(ITEM_ENDS, or_end=True)
    scanner.pos -= 1
    if blanks:
        raise error
    return error


def _spread(scanner: Scanner, depth: int, blanks: bool) -> SelectRelation | Unparsable:
    """``...relation!hint!join(…)``."""
    start = scanner.pos
    try:
        scanner.skip("...")
        relation = SelectRelation(scanner.name(), spread=True)
        hint, join = _embed_parameters(scanner)
        if not scanner.at("("):
            if scanner.at("->"):
                raise Unparsable(scanner.pos + 2, "'>'", ())
            scanner.fail((*scanner.tail, '"("'))
    except Unparsable as error:
        scanner.pos = start
        if blanks:
            scanner.fail(('"*"', NAME_LABEL, '"count()"'))
        return error
    return replace(relation, hint=hint, join=join, select=_embedded(scanner, depth))


def _named(scanner: Scanner, depth: int) -> Select:
    """``alias:name…``: an embed if ``(`` follows, else a field."""
    alias = None
    if count := _count(scanner, alias):
        return count
    name = scanner.name()
    if scanner.at(":") and not scanner.at("::"):
        scanner.skip(":")
        alias = name
        if count := _count(scanner, alias):
            return count
        if not scanner.blanks() and not BEGINS_NAME.match(scanner.text, scanner.pos):
            scanner.fail(('":"', NAME_LABEL))
        name = scanner.name()
    if name != "count" and (scanner.at("(") or scanner.at("!")):
        start, tail = scanner.pos, scanner.tail
        parameters = _tried_parameters(scanner)
        if parameters and scanner.at("("):
            return SelectRelation(name, alias, *parameters, False, _embedded(scanner, depth))
        scanner.pos, scanner.tail = start, tail
    return _field(scanner, alias, name)


def _count(scanner: Scanner, alias: str | None) -> SelectField | None:
    found = COUNT.match(scanner.text, scanner.pos)
    if found is None:
        return None
    scanner.pos, cast = found.end(), None
    scanner.tail = ('"::"', *ITEM_ENDS)
    if found[1]:
        cast, scanner.tail = found[1].strip(), (*IN_IDENTIFIER, *ITEM_ENDS)
    return SelectField(Field("*"), alias, aggregate="count", aggregate_cast=cast)


def _field(scanner: Scanner, alias: str | None, name: str) -> SelectField:
    """What may follow a column's name: ``->path::cast.aggregate()::cast``."""
    path = scanner.json_path()
    scanner.blanks()
    cast = _cast(scanner)
    aggregate = _aggregate(scanner)
    aggregate_cast = _cast(scanner)
    if not scanner.at_end() and scanner.text[scanner.pos] not in ",)":
        scanner.fail((*scanner.tail, *ITEM_ENDS), or_end=True)
    scanner.missed(*ITEM_ENDS)
    return SelectField(
        Field(name, path), alias, cast, aggregate, aggregate_cast if aggregate else None
    )


def _cast(scanner: Scanner) -> str | None:
    if scanner.skip("::"):
        return scanner.identifier()
    if scanner.at(":"):
        scanner.fail(('"::"',), literal="::")
    scanner.missed('"::"')
    return None


def _aggregate(scanner: Scanner) -> Aggregate | None:
    if not scanner.skip("."):
        scanner.missed('"."')
        return None
    for aggregate in AGGREGATES:
        if scanner.skip(aggregate):
            if not scanner.skip("()"):
                scanner.fail(('"()"',), literal="()")
            return aggregate
    # Upstream commits to sum, avg and count by their first letter; max and min share theirs.
    begun = [name for name in AGGREGATES[:3] if scanner.at(name[0])]
    tried = begun or AGGREGATES
    raise scanner.failure([f'"{name}"' for name in tried], literal=tried[0])


def _tried_parameters(scanner: Scanner) -> tuple[str | None, Join | None] | None:
    """None for a syntax error: upstream tries a field next, and reports that."""
    try:
        return _embed_parameters(scanner)
    except Unparsable:
        return None


def _embed_parameters(scanner: Scanner) -> tuple[str | None, Join | None]:
    """``!hint`` and ``!inner`` or ``!left``, in any order; the first of each counts."""
    hints: list[str] = []
    joins: list[Join] = []
    for _ in range(2):
        if not scanner.skip("!"):
            scanner.missed('"!"')
            break
        if scanner.skip("left"):
            joins.append("left")
        elif scanner.skip("inner"):
            joins.append("inner")
        elif BEGINS_NAME.match(scanner.text, scanner.pos):
            hints.append(scanner.name())
        else:
            scanner.fail(('"left"', '"inner"', NAME_LABEL), literal="left")
    return (hints[0] if hints else None), (joins[0] if joins else None)


def _embedded(scanner: Scanner, depth: int) -> tuple[Select, ...]:
    if depth == MAX_DEPTH:
        raise TooDeep(scanner.pos)
    scanner.skip("(")
    items = select_list(scanner, depth + 1)
    if not scanner.skip(")"):
        scanner.fail((*scanner.tail, '")"'))
    return items
