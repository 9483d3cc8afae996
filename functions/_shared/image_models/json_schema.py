"""Questions to a flattened JSON Schema: its constraints, bounds, the nearest valid number."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Schema = dict[str, Any]

SEED_SPAN = 2**31
"""Number of seeds that every model with a seed accepts, where its schema has no maximum."""


_DIGITS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


def narrowed(schema: Schema, by: Mapping[str, Any]) -> Schema:
    """The intersection of both schemas' constraints, keyword by keyword."""
    merged = {
        key: merge(schema[key], by[key])
        for key, merge in _MERGE.items()
        if key in schema and key in by
    }
    return {**{key: by[key] for key in (*_MERGE, "default") if key in by}, **schema, **merged}


def types_of(field: Mapping[str, Any]) -> set[str]:
    named = field.get("type", ())
    return {named} if isinstance(named, str) else set(named)


def _common_types(left: Any, right: Any) -> list[str]:
    first, second = (
        types | {"integer"} if "number" in types else types
        for types in (types_of({"type": left}), types_of({"type": right}))
    )
    return sorted(first & second)


_MERGE: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "enum": lambda left, right: [word for word in left if word in right],
    "minimum": max,
    "exclusiveMinimum": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "multipleOf": lambda left, right: (
        math.lcm(left, right)
        if isinstance(left, int) and isinstance(right, int)
        else max(left, right)
    ),
    "properties": lambda left, right: {**right, **left},
    "required": lambda left, right: [*dict.fromkeys([*left, *right])],
}


def bounds(field: Schema) -> tuple[float, float]:
    """The least and greatest valid number, infinite where unbounded; an exclusive bound moves one step."""
    if "enum" in field:
        numbers = [number for number, _ in legal_numbers(field)]
        return min(numbers, default=math.inf), max(numbers, default=-math.inf)
    step = field.get("multipleOf") or (1 if is_whole(field) else 0.01)
    low, high = field.get("minimum", -math.inf), field.get("maximum", math.inf)
    if "exclusiveMinimum" in field:
        low = max(low, math.floor(field["exclusiveMinimum"] / step) * step + step)
    if "exclusiveMaximum" in field:
        high = min(high, math.ceil(field["exclusiveMaximum"] / step) * step - step)
    return low, high


def is_whole(field: Schema) -> bool:
    """Whether only integers are valid."""
    return "integer" in types_of(field) and "number" not in types_of(field)


def legal_numbers(field: Schema) -> list[tuple[float, Any]]:
    """The numbers of an enumeration, each with its spelling there: ``"4"`` is 4 as well."""
    found = []
    for word in field.get("enum", ()):
        if _is_number(word):
            found.append((word, word))
        elif isinstance(word, str) and _DIGITS.fullmatch(word):
            found.append((float(word), word))
    return found


def nearest_number(value: float, field: Schema) -> float | str | None:
    """The valid number nearest to ``value``, as an int where integral; None if no number is valid.

    Of an enumeration, the word in its own spelling.
    """
    if "enum" in field:
        words = legal_numbers(field)
        nearest = min(words, key=lambda option: abs(option[0] - value), default=(0, None))
        spelled: float | str | None = nearest[1]
        return spelled
    low, high = bounds(field)
    if low > high or (types_of(field) and not types_of(field) & {"integer", "number"}):
        return None
    number = min(max(value, low), high)
    if step := field.get("multipleOf") or (1 if is_whole(field) else 0):
        number = round(number / step) * step
        if number < low:
            number = math.ceil(low / step) * step
        if number > high:
            number = math.floor(high / step) * step
    number = round(number, 9)  # floating point: 0.1 * 3 is 0.30000000000000004
    return int(number) if float(number).is_integer() else number


def most_within(value: float, field: Schema) -> float | str | None:
    """The greatest valid number up to ``value``, else the least there is: no more than asked, where that can be."""
    if "enum" in field:
        words = legal_numbers(field)
        within = [option for option in words if option[0] <= value]
        chosen = max(within, default=min(words, default=(0, None), key=_number), key=_number)
        spelled: float | str | None = chosen[1]
        return spelled
    return nearest_number(value, field)


def _number(option: tuple[float, Any]) -> float:
    return option[0]


def nearest_seed(seed: int, limits: Schema) -> int | None:
    """``seed``, wrapped around (modulo) into the valid range; None where no seed is valid."""
    low, high = bounds(limits)
    if math.isinf(low) and math.isfinite(high):
        low = min(0, high)
    if low <= seed <= high:
        return seed
    if math.isinf(low):
        return None
    first = math.ceil(low)
    last = math.floor(high) if math.isfinite(high) else first + SEED_SPAN - 1
    return first + (seed - first) % (last - first + 1) if first <= last else None


def _is_number(word: Any) -> bool:
    return isinstance(word, int | float) and not isinstance(word, bool) and math.isfinite(word)
