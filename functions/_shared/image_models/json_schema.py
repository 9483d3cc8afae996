"""What a JSON Schema allows: its limits in one plain dict a property, and the nearest legal number."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry

Schema = dict[str, Any]

MAX_SCHEMA_NODES = 20_000
SEED_SPAN = 2**31
"""How many seeds any model with a seed can be trusted to know."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DEFINITIONS = ("$defs", "definitions", "components")
_PATTERNS = {"pattern", "patternProperties"}
"""Left out, and left to the provider to judge: a model's author could write one that backtracks for hours (ReDoS)."""
_DATA = {"const", "default", "enum", "example", "examples", "$id", "$schema"}


def read_schema(document: object) -> Schema:
    """The Input schema in ``document``, references resolved, each property's limits in one dict.

    ``document`` is that schema itself or wraps it, as Replicate's openapi_schema does. What the
    result allows, the original allows too, patterns aside. Raises ValueError for what is no JSON Schema.
    """
    roots = _roots(document)
    try:
        plain = _limits(_inlined(roots[0], roots, (), itertools.count()))
        properties = {k: _limits(v) for k, v in plain["properties"].items() if _is_schema(v)}
        plain = {"required": [], **plain, "properties": properties}
        Draft202012Validator.check_schema({**plain, "properties": {}})
    except (SchemaError, RecursionError, KeyError, TypeError, AttributeError):
        raise ValueError("not a JSON Schema with properties") from None
    return plain


def validator(schema: Schema) -> Draft202012Validator:
    """For ``schema``. A reference to somewhere else is never fetched."""
    registry: Registry[Any] = Registry()
    return Draft202012Validator(schema, registry=registry)


def allows(schema: Schema, value: Any) -> bool:
    """Whether ``value`` is legal."""
    return validator(schema).is_valid(value)


def narrowed(schema: Schema, by: Mapping[str, Any]) -> Schema:
    """``schema`` with the limits of both; where it has none of a kind, those of ``by``."""
    merged = {
        key: merge(schema[key], by[key])
        for key, merge in _MERGE.items()
        if key in schema and key in by
    }
    return {**{key: by[key] for key in (*_MERGE, "default") if key in by}, **schema, **merged}


def _roots(document: Any) -> tuple[Any, ...]:
    """The Input schema, then all that it came wrapped in: references may point into any of it."""
    if isinstance(document, dict) and not isinstance(document.get("properties"), dict):
        for key in ("latest_version", "openapi_schema", "components", "schemas", "Input", "input"):
            if isinstance(document.get(key), dict):
                return (*_roots(document[key]), document)
    return (document,)


def _inlined(
    node: Any, roots: tuple[Any, ...], trail: tuple[str, ...], count: Iterator[int]
) -> Any:
    """``node`` with its references replaced by what they mean."""
    if next(count) > MAX_SCHEMA_NODES:
        raise ValueError("too large")
    if isinstance(node, float) and not math.isfinite(node):
        raise ValueError("its numbers must be finite")
    if isinstance(node, list):
        return [_inlined(item, roots, trail, count) for item in node]
    if not isinstance(node, dict):
        return node
    plain: Schema = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):  # its keys are names, not keywords
            plain[key] = {name: _inlined(v, roots, trail, count) for name, v in value.items()}
        elif key in _DATA:
            plain[key] = value
        elif key not in _REFERENCES and key not in _DEFINITIONS and key not in _PATTERNS:
            plain[key] = _inlined(value, roots, trail, count)
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(plain.get(bound), bool) and plain.pop(bound) and limit in plain:
            plain[bound] = plain[limit]  # OpenAPI 3.0 spells them as a flag beside the limit
    for ref in (node[key] for key in _REFERENCES if isinstance(node.get(key), str)):
        target = False if ref in trail else _lookup(ref, roots)  # a circle allows nothing
        plain["allOf"] = [*plain.get("allOf", ()), _inlined(target, roots, (*trail, ref), count)]
    return plain


def _limits(node: Any) -> Schema:
    """``node`` with what its allOf and anyOf say repeated beside them.

    Not for what lies deeper: a narrower branch of a oneOf or a not would allow more, not less.
    """
    if not isinstance(node, dict):
        return {}
    limits = narrowed(node, {"enum": [node["const"]]}) if "const" in node else node
    for part in node.get("allOf", ()):
        limits = narrowed(limits, _limits(part))
    for word in ("anyOf", "oneOf"):
        limits = narrowed(limits, _either([_limits(branch) for branch in node.get(word, ())]))
    return limits


def _either(branches: list[Schema]) -> Schema:
    """One dict for alternatives: all the words of enumerations, else the first that is not null."""
    real = [branch for branch in branches if types_of(branch) != {"null"}]
    if real and all("enum" in branch for branch in real):
        return {"enum": [word for branch in real for word in branch["enum"]]}
    return real[0] if real else {}


def _lookup(reference: str, roots: Iterable[Any]) -> Any:
    """What a local JSON pointer names in the first root that has it, or False: allow nothing."""
    for node in roots:
        try:
            for part in unquote(reference.removeprefix("#")).split("/")[1:]:
                key = part.replace("~1", "/").replace("~0", "~")
                node = node[int(key)] if isinstance(node, list) else node[key]
        except (LookupError, ValueError, TypeError):
            continue
        return node if reference.startswith("#") else False
    return False


def _is_schema(node: Any) -> bool:
    try:
        Draft202012Validator.check_schema(node)
    except SchemaError:
        return False
    return node is not False


def types_of(field: Mapping[str, Any]) -> set[str]:
    named = field.get("type", ())
    return {named} if isinstance(named, str) else set(named)


def _common_types(one: Any, other: Any) -> list[str]:
    first, second = (
        types | {"integer"} if "number" in types else types
        for types in (types_of({"type": one}), types_of({"type": other}))
    )
    return sorted(first & second)


_MERGE: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "enum": lambda one, other: [word for word in one if word in other],
    "minimum": max,
    "exclusiveMinimum": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "multipleOf": lambda one, other: (
        math.lcm(one, other) if isinstance(one, int) and isinstance(other, int) else max(one, other)
    ),
    "properties": lambda one, other: {**other, **one},
    "required": lambda one, other: [*dict.fromkeys([*one, *other])],
}


def bounds(field: Schema) -> tuple[float, float]:
    """The least and the greatest legal number, infinite where there is no limit."""
    if "enum" in field:
        words = [word for word in field["enum"] if _is_number(word)]
        return min(words, default=math.inf), max(words, default=-math.inf)
    step = field.get("multipleOf") or (1 if is_whole(field) else 0.01)
    low, high = field.get("minimum", -math.inf), field.get("maximum", math.inf)
    if "exclusiveMinimum" in field:
        low = max(low, math.floor(field["exclusiveMinimum"] / step) * step + step)
    if "exclusiveMaximum" in field:
        high = min(high, math.ceil(field["exclusiveMaximum"] / step) * step - step)
    return low, high


def is_whole(field: Schema) -> bool:
    """Whether only integers are legal."""
    return "integer" in types_of(field) and "number" not in types_of(field)


def nearest_number(value: float, field: Schema) -> float | None:
    """The legal number nearest to ``value``, an int where it is whole; None if none is legal."""
    if "enum" in field:
        words = [word for word in field["enum"] if _is_number(word)]
        return min(words, key=lambda word: abs(word - value), default=None)
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
    number = round(number, 9)  # 0.1 * 3 is not 0.3
    return int(number) if float(number).is_integer() else number


def nearest_seed(seed: int, limits: Schema) -> int | None:
    """``seed`` itself, or where it is out of range its remainder; None where no seed is legal."""
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
