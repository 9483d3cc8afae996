"""Filters (``column=not.op.value``) and logic trees (``or=(a.eq.1,not.and(…))``)."""

import re
from collections.abc import Callable, Mapping
from typing import Literal, NoReturn

from functions._platform.rest.query.text import (
    DELIMITER,
    IDENTIFIER,
    MAX_DEPTH,
    Scanner,
    TooDeep,
    Unparsable,
    common_prefix,
    unescaped,
)
from functions._platform.rest.query.tree import Condition, Field, Filter, Logic, Path

SIMPLE = ("neq", "cs", "cd", "ov", "sl", "sr", "nxr", "nxl", "adj")
QUANTIFIABLE = ("eq", "gte", "gt", "lte", "lt", "like", "ilike", "match", "imatch")
QUANTIFIERS: Mapping[str, Literal["any", "all"]] = {"any": "any", "all": "all"}
FULL_TEXT = ("fts", "plfts", "phfts", "wfts")
OPERATION = re.compile(
    rf"(not\.)?(?:(in|isdistinct|is|{'|'.join(SIMPLE)})"
    rf"|({'|'.join(QUANTIFIABLE)})(?:\((any|all)\))?"
    rf"|({'|'.join(FULL_TEXT)})(?:\(([\w $]+)\))?)\."
)
IS_VALUES = ("null", "not_null", "true", "false", "unknown")
LIST_OPENS = re.compile(r"[ \t]*\([ \t]*")
ITEM = re.compile(r'"((?:[^"\\]++|\\.)*+)"(?=[,)]|\Z)|[^,)]*', re.DOTALL)
VALUE = re.compile(r'"((?:[^"\\]++|\\.)*+)"(?=[,)]|\Z)|\{[^{}]*\}|[^,)]*', re.DOTALL)
LOGIC = re.compile(r"(not\.)?(and|or)[ \t]*\([ \t]*")

OPERATOR = "operator (eq, gt, ...)"
IS_LABEL = "isVal: (null, not_null, true, false, unknown)"
QUOTE = (r'"\""',)
NEGATION = "negation operator (not)"
LOGIC_OPERATOR = "logic operator (and, or)"


def tree_path(scanner: Scanner) -> tuple[Path, Field]:
    """``embed.embed.column->path``: a parameter's name. What follows it is ignored, as upstream does."""
    names = [scanner.name()]
    while scanner.skip("."):
        names.append(scanner.name())
    return tuple(names[:-1]), Field(names[-1], scanner.json_path())


def logic_path(scanner: Scanner) -> tuple[Path, str]:
    """``embed.not.or`` → the embeds, and ``not.or``."""
    names = [scanner.name()]
    while scanner.skip("."):
        names.append(scanner.name())
    negation = "not." if "not" in names else ""
    return tuple(name for name in names[:-1] if name != "not"), f"{negation}{names[-1]}"


def begins_operation(value: str) -> bool:
    """Whether an argument of GET /rpc is a filter instead; one with a syntax error further on is no argument."""
    return value.startswith("not.") or OPERATION.match(value) is not None


def column_filter(field: Field) -> Callable[[Scanner], Filter]:
    """A parser of the parameter's value. What follows a list or an ``is`` is ignored, as upstream does."""
    return lambda scanner: _operation(scanner, field, in_logic=False)


def logic_tree(scanner: Scanner, depth: int = 0) -> Condition:
    """``and(…)``, ``not.or(…)``, or a filter ``column.op.value``. What follows the outermost one is ignored."""
    found = LOGIC.match(scanner.text, scanner.pos)
    if found is None:
        return _logic_filter(scanner)
    if depth == MAX_DEPTH:
        raise TooDeep(scanner.pos)
    scanner.pos, scanner.tail = found.end(), ()
    children = [logic_tree(scanner, depth + 1)]
    while scanner.comma(children):
        children.append(logic_tree(scanner, depth + 1))
    if not scanner.skip(")"):
        scanner.fail((*scanner.tail, '")"'))
    scanner.blanks()
    return Logic("and" if found[2] == "and" else "or", tuple(children), found[1] is not None)


def _logic_filter(scanner: Scanner) -> Filter:
    start = scanner.pos
    try:
        field = scanner.field()
        if not scanner.skip("."):
            scanner.fail((*scanner.tail, DELIMITER), literal="->>" if scanner.tail else "")
        return _operation(scanner, field, in_logic=True)
    except Unparsable as error:
        scanner.pos = start
        _fail_at_condition(scanner, error)


def _fail_at_condition(scanner: Scanner, error: Unparsable) -> NoReturn:
    """Neither a filter, which ``error`` says, nor and/or: the error further to the right counts, or both together."""
    text, start = scanner.text, scanner.pos
    negated = scanner.skip("not.")
    for operator in ("and", "or"):
        if scanner.skip(operator):
            scanner.blanks()
            scanner.fail(('"("',))
    if scanner.at("o"):
        scanner.fail(('"or"',), literal="or")
    if negated:
        scanner.fail((LOGIC_OPERATOR,), literal="and")
    if text.startswith("not", start):
        other = scanner.failure((NEGATION,), at=start + 3)
    else:
        other = scanner.failure((NEGATION, LOGIC_OPERATOR), literal="not")
    if error.at == other.at:
        raise error.expecting(*other.expected) from None
    raise max(error, other, key=lambda each: each.at) from None


def _operation(scanner: Scanner, field: Field, *, in_logic: bool) -> Filter:
    found = OPERATION.match(scanner.text, scanner.pos)
    if found is None:
        _fail_at_operator(scanner)
    scanner.pos, scanner.tail = found.end(), ()
    negated = found[1] is not None
    if found[2] == "in":
        return Filter(field, "in", _list(scanner), negated)
    if found[2] == "is":
        return Filter(field, "is", _is_value(scanner), negated)
    value = _value(scanner) if in_logic else scanner.text[scanner.pos :]
    if found[2]:
        return Filter(field, found[2], value, negated)
    if found[3]:
        return Filter(field, found[3], value, negated, QUANTIFIERS.get(found[4]))
    language = found[6].strip() if found[6] else None
    return Filter(field, found[5], value, negated, None, language)


def _list(scanner: Scanner) -> tuple[str, ...]:
    opened = LIST_OPENS.match(scanner.text, scanner.pos)
    if opened is None:
        scanner.blanks()
        scanner.fail(('"("',))
    scanner.pos = opened.end()
    items = [_text(scanner, ITEM)]
    while scanner.skip(","):
        items.append(_text(scanner, ITEM))
    if not scanner.skip(")"):
        begun = () if len(items) > 1 or items[0] else QUOTE
        scanner.fail((*begun, '","', '")"'))
    scanner.blanks()
    return tuple(items)


def _value(scanner: Scanner) -> str:
    start = scanner.pos
    value = _text(scanner, VALUE)
    if scanner.pos == start:
        scanner.missed(*QUOTE, '"{"')
    return value


def _text(scanner: Scanner, pattern: re.Pattern[str]) -> str:
    found = pattern.match(scanner.text, scanner.pos)
    assert found is not None  # the pattern matches nothing as well
    scanner.pos = found.end()
    if found[1] is None:
        return found[0]
    return unescaped(found[1])


def _is_value(scanner: Scanner) -> str:
    for value in IS_VALUES:
        if scanner.text[scanner.pos : scanner.pos + len(value)].lower() == value:
            scanner.pos += len(value)
            return value
    rest = scanner.text.lower()
    furthest = max(common_prefix(value, rest, scanner.pos) for value in IS_VALUES)
    raise scanner.failure((IS_LABEL,), at=scanner.pos + furthest)


def _fail_at_operator(scanner: Scanner) -> NoReturn:
    """No operator: the error is where the alternative that went furthest gave up."""
    start = scanner.pos
    negated = scanner.skip("not.")
    begins = scanner.pos
    ends = [
        (begins + len(name), name)
        for name in ("in", "is", "isdistinct", *SIMPLE, *QUANTIFIABLE, *FULL_TEXT)
        if scanner.at(name)
    ]
    if ends:
        at, name = max(ends)
        if scanner.text.startswith("(", at) and name in QUANTIFIABLE:
            _fail_in_quantifier(scanner, at + 1)
        if scanner.text.startswith("(", at) and name in FULL_TEXT:
            language = IDENTIFIER.match(scanner.text, at + 1)
            at = language.end() if language else at + 1
            at += language is not None and scanner.text.startswith(")", at)
        scanner.fail((OPERATOR,), at=at)
    if negated:
        scanner.fail((OPERATOR,), literal="in")
    if scanner.at("not"):
        scanner.fail((DELIMITER,), at=start + 3)
    scanner.fail(('"not"', OPERATOR), literal="not")


def _fail_in_quantifier(scanner: Scanner, at: int) -> NoReturn:
    for quantifier in ("any", "all"):
        if scanner.text.startswith(quantifier, at):
            closes = scanner.text.startswith(")", at + 3)
            scanner.fail((OPERATOR,), at=at + 3 + closes)
    scanner.fail((OPERATOR,), at=at, literal="all")
