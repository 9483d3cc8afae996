"""``order=``: columns of the level itself, or of a to-one embed (``relation(column)``)."""

from collections.abc import Mapping
from typing import NoReturn, TypeVar

from functions._platform.rest.query.text import DELIMITER, END, Scanner, Unparsable
from functions._platform.rest.query.tree import Direction, Field, Nulls, OrderTerm

W = TypeVar("W")

DIRECTIONS: Mapping[str, Direction] = {".asc": "asc", ".desc": "desc"}
NULLS: Mapping[str, Nulls] = {".nullsfirst": "first", ".nullslast": "last"}


def order_terms(scanner: Scanner) -> tuple[OrderTerm, ...]:
    terms = [_term(scanner)]
    while scanner.skip(","):
        terms.append(_term(scanner))
    return tuple(terms)


def _term(scanner: Scanner) -> OrderTerm:
    scanner.blanks()
    start = scanner.pos
    name = scanner.name()
    if scanner.at("("):
        after, tail = scanner.pos, scanner.tail
        try:
            return _of_relation(scanner, name)
        except Unparsable:
            # Upstream tries a column next, and reports that: the parenthesis is then what it did not expect.
            scanner.pos, scanner.tail = after, tail
    scanner.pos = start
    return _ordered(scanner, scanner.field(), None)


def _of_relation(scanner: Scanner, relation: str) -> OrderTerm:
    scanner.skip("(")
    field = scanner.field()
    if not scanner.skip(")"):
        scanner.fail(('")"',))
    return _ordered(scanner, field, relation)


def _ordered(scanner: Scanner, field: Field, relation: str | None) -> OrderTerm:
    """``.desc.nullslast``, both optional, up to the next comma."""
    direction = _first(scanner, DIRECTIONS)
    nulls = _first(scanner, NULLS)
    if not scanner.at_end() and not scanner.at(","):
        _fail_behind(scanner, direction, nulls)
    return OrderTerm(field, direction, nulls, relation)


def _first(scanner: Scanner, words: Mapping[str, W]) -> W | None:
    return next((meaning for word, meaning in words.items() if scanner.skip(word)), None)


def _fail_behind(scanner: Scanner, direction: Direction | None, nulls: Nulls | None) -> NoReturn:
    """What stands behind a term's parts is neither a further part nor its end."""
    if nulls:
        scanner.fail(('","', END), or_end=True)
    if not scanner.at("."):
        scanner.fail((*scanner.tail, DELIMITER, '","', END), or_end=True)
    parts = [*NULLS] if direction else [*DIRECTIONS, *NULLS]
    words = [part.removeprefix(".") for part in parts]
    scanner.fail([f'"{word}"' for word in words], at=scanner.pos + 1, literal=words[0])
