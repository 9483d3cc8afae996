"""A binding of postgres_changes, and its filter: ``column=[not.]operator.value``, several divided by commas (AND)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPERATORS: Mapping[str, str] = {
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "in": "= any",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
    "is": "is",
    "isdistinct": "is distinct from",
}
EVENTS = frozenset({"INSERT", "UPDATE", "DELETE"})
IS = frozenset({"null", "true", "false", "unknown"})
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class BadBinding(Exception):
    """The text is the message of the ``system`` frame."""


@dataclass(frozen=True, slots=True)
class Condition:
    """``value``: as in the filter; of ``in`` an array literal."""

    column: str
    operator: str
    value: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Binding:
    """``event`` and ``table`` may be ``*``. ``columns``: the wanted ones; None: all."""

    event: str
    schema: str
    table: str
    conditions: tuple[Condition, ...]
    columns: frozenset[str] | None = None


def parse_binding(asked: Any) -> Binding:
    """Raises BadBinding."""
    asked = asked if isinstance(asked, Mapping) else {}
    event = str(asked.get("event", "*")).upper()
    schema, table, text = asked.get("schema"), asked.get("table"), asked.get("filter")
    if not isinstance(schema, str) and not isinstance(table, str):
        raise BadBinding(
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to"
        )
    select = asked.get("select")
    wanted = frozenset(map(str, select)) if isinstance(select, list) and select else None
    try:
        conditions = parse_filter(text) if isinstance(text, str) else ()
    except BadBinding as problem:
        raise BadBinding(f"Error parsing `filter` params: {problem}") from None
    return Binding(
        event if event in EVENTS else "*",
        schema if isinstance(schema, str) else "public",
        table if isinstance(table, str) else "*",
        conditions,
        wanted,
    )


def parse_filter(text: str) -> tuple[Condition, ...]:
    """Raises BadBinding."""
    return tuple(map(_condition, _split(text.strip()))) if text.strip() else ()


def _split(text: str) -> list[str]:
    """At commas outside of parentheses and quoted values."""
    parts, depth, quoted, start, at = [], 0, False, 0, 0
    while at < len(text):
        character = text[at]
        if quoted:
            at += character == "\\"
            quoted = character != '"'
        elif character == '"' and text[at - 1 : at] in {".", "(", ","}:
            quoted = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "," and depth <= 0:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def _condition(part: str) -> Condition:
    column, equals, rest = part.partition("=")
    negated = rest.startswith("not.")
    operator, dot, value = rest.removeprefix("not.").partition(".")
    if not (column and equals and dot) or operator not in OPERATORS:
        shown = ", ".join(f'"{piece}"' for piece in ([operator, value] if dot else [part]))
        raise BadBinding(f"[{shown}]")
    if operator == "in":
        if not (value.startswith("(") and value.endswith(")")):
            raise BadBinding("`in` filter value must be wrapped by parentheses")
        return Condition(column.strip(), operator, f"{{{value[1:-1]}}}", negated)
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = ESCAPED.sub(r"\1", value[1:-1])
    if operator == "is" and value.lower() not in IS:
        raise BadBinding(f'["{operator}", "{value}"]')
    return Condition(column.strip(), operator, value, negated)
