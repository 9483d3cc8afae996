"""The query string of a request → ``Query``."""

from collections.abc import Callable
from typing import TypeVar

from functions._platform.rest import errors
from functions._platform.rest.query.filters import (
    begins_operation,
    column_filter,
    logic_path,
    logic_tree,
    tree_path,
)
from functions._platform.rest.query.order import order_terms
from functions._platform.rest.query.parameters import Pairs, is_logic, parameters_of
from functions._platform.rest.query.select import select_list
from functions._platform.rest.query.text import Scanner, Unparsable, position
from functions._platform.rest.query.tree import (
    Condition,
    Field,
    OrderTerm,
    Path,
    Query,
    Select,
    SelectRelation,
)
from functions._platform.rest.query.windows import windows_of

T = TypeVar("T")
Conditions = dict[Path, tuple[Condition, ...]]
MAX_EMBEDS = 100
"""PostgreSQL's memory for planning grows with the square of the joins: 50 MB for 100, 3.6 GB for 1600. Upstream has no
such bound."""


def parse(query_string: bytes, *, is_call: bool = False) -> Query:
    """Parse the raw query string. ``is_call``: of GET and HEAD /rpc, where a value that is no operator expression is
    an argument of the function.

    Raises RestError 400 (PGRST100; 22021 for text that PostgreSQL cannot store), 416 (PGRST103) for a negative limit.
    """
    sent = parameters_of(query_string)
    order = _order(sent.orders)
    columns = _names("columns parameter", sent.named.get("columns"))
    select = sent.named.get("select", "*")
    selected = _parsed("select parameter", select, select_list)
    if _embeds(selected) > MAX_EMBEDS:
        message = f'"failed to parse select parameter ({select})" (line 1, column 1)'
        raise errors.unparsable(message, f"more than {MAX_EMBEDS} embeds")
    conditions, arguments = _conditions(sent.conditions, is_call)
    conflict = _names("on_conflict parameter", sent.named.get("on_conflict"))
    return Query(
        select=selected,
        conditions=conditions,
        order=order,
        windows=windows_of(_by_path(sent.limits), _by_path(sent.offsets)),
        columns=None if columns is None else frozenset(columns),
        on_conflict=conflict,
        arguments=arguments,
    )


def _embeds(select: tuple[Select, ...]) -> int:
    return sum(1 + _embeds(part.select) for part in select if isinstance(part, SelectRelation))


def _order(pairs: Pairs) -> dict[Path, tuple[OrderTerm, ...]]:
    """Of a repeated ``order`` of the same level the first counts."""
    order: dict[Path, tuple[OrderTerm, ...]] = {}
    for key, value in pairs:
        path, _ = _path(key)
        order.setdefault(path, _parsed("order", value, order_terms))
    return order


def _conditions(pairs: Pairs, is_call: bool) -> tuple[Conditions, tuple[tuple[str, str], ...]]:
    conditions: Conditions = {}
    arguments = []
    for key, value in pairs:
        if is_logic(key):
            path, operator = _parsed("logic path", key, logic_path)
            condition: Condition = _parsed("logic tree", value, logic_tree, prefix=operator)
        else:
            path, field = _path(key)
            if is_call and not begins_operation(value):
                arguments.append((field.name, value))
                continue
            condition = _parsed("filter", value, column_filter(field))
        conditions[path] = (*conditions.get(path, ()), condition)
    return conditions, tuple(arguments)


def _names(what: str, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else _parsed(what, text, _name_list)


def _name_list(scanner: Scanner) -> tuple[str, ...]:
    names = [scanner.name()]
    while scanner.comma(names):
        names.append(scanner.name())
    return tuple(names)


def _by_path(pairs: Pairs) -> dict[Path, str]:
    """Of a repeated limit or offset the last counts."""
    return {_path(key)[0]: value for key, value in pairs}


def _path(key: str) -> tuple[Path, Field]:
    return _parsed("tree path", key, tree_path)


def _parsed(what: str, text: str, parser: Callable[[Scanner], T], *, prefix: str = "") -> T:
    """``prefix`` is parsed in front of ``text``, and its columns count in an error. Raises PGRST100."""
    scanner = Scanner(prefix + text)
    try:
        return parser(scanner)
    except Unparsable as error:
        message = f'"failed to parse {what} ({text})" {position(scanner.text, error.at)}'
        raise errors.unparsable(message, error.details) from None
