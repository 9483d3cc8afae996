"""Flatten a JSON Schema document: ``$ref`` inlined, allOf and anyOf merged into one dict a property."""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from functions._shared.image_models.json_schema import Schema, narrowed, types_of

MAX_SCHEMA_NODES = 20_000
"""Bound of the expanded document: nested references grow it exponentially (billion-laughs attack)."""

MAX_PROPERTIES = 256
"""Each is read by some 50 patterns while the GIL is held. The public catalogue's largest model has 73."""
MAX_NAME = 200
"""Characters of a property's name, as of a key in a request's ``input``."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DEFINITIONS = ("$defs", "definitions", "components")
_DATA = {"const", "default", "enum", "example", "examples", "$id", "$schema"}
"""Keywords whose values are data, not schemas: copied without looking for references."""


def read_schema(document: object) -> Schema:
    """The Input schema of ``document``, references inlined, each property's constraints in one dict.

    ``document`` is that schema itself or contains it, as Replicate's openapi_schema does. Sound, not complete: what
    the result allows, the original allows. Raises ValueError for anything but a JSON Schema.
    """
    from functions._shared.image_models.validity import is_schema

    roots = _roots(document)
    try:
        plain = _flattened(_inline_references(roots[0], roots, (), itertools.count()))
        properties = {k: _flattened(v) for k, v in plain["properties"].items() if is_schema(v)}
        if len(properties) > MAX_PROPERTIES or any(len(name) > MAX_NAME for name in properties):
            raise ValueError("too many properties, or too long names")
        plain = {"required": [], **plain, "properties": properties}
        if is_schema({**plain, "properties": {}}):
            return plain
    except (RecursionError, KeyError, TypeError, AttributeError):
        pass
    raise ValueError("not a JSON Schema with properties")


def _roots(document: Any) -> tuple[Any, ...]:
    """The Input schema, then the documents that contain it: references may be relative to any of them."""
    if isinstance(document, dict) and not isinstance(document.get("properties"), dict):
        for key in ("latest_version", "openapi_schema", "components", "schemas", "Input", "input"):
            if isinstance(document.get(key), dict):
                return (*_roots(document[key]), document)
    return (document,)


def _inline_references(
    node: Any, roots: tuple[Any, ...], trail: tuple[str, ...], count: Iterator[int]
) -> Any:
    """``node`` with each ``$ref`` replaced by an allOf of its target.

    ``trail`` (references being inlined) detects cycles, ``count`` (nodes so far) bounds the size. Raises ValueError.
    """
    if next(count) > MAX_SCHEMA_NODES:
        raise ValueError("too large")
    if isinstance(node, float) and not math.isfinite(node):
        raise ValueError("its numbers must be finite")
    if isinstance(node, list):
        return [_inline_references(item, roots, trail, count) for item in node]
    if not isinstance(node, dict):
        return node
    if "patternProperties" in node:
        raise ValueError("its properties are named by patterns")
    plain: Schema = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):  # its keys are names, not keywords
            plain[key] = {
                name: _inline_references(v, roots, trail, count) for name, v in value.items()
            }
        elif key in _DATA:
            plain[key] = value
        elif key not in _REFERENCES and key not in _DEFINITIONS:
            plain[key] = _inline_references(value, roots, trail, count)
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(plain.get(bound), bool) and plain.pop(bound) and limit in plain:
            plain[bound] = plain[limit]  # OpenAPI 3.0: exclusiveMinimum is a flag beside minimum
    for ref in (node[key] for key in _REFERENCES if isinstance(node.get(key), str)):
        target = (
            False if ref in trail else _resolve(ref, roots)
        )  # a cyclic reference allows nothing
        plain["allOf"] = [
            *plain.get("allOf", ()),
            _inline_references(target, roots, (*trail, ref), count),
        ]
    return plain


def _flattened(node: Any) -> Schema:
    """``node`` with the constraints of its allOf, anyOf and oneOf merged in, at this level only.

    Deeper levels stay: narrowing inside a oneOf or a not can allow more than before, not less.
    """
    if not isinstance(node, dict):
        return {}
    limits = narrowed(node, {"enum": [node["const"]]}) if "const" in node else node
    for part in node.get("allOf", ()):
        limits = narrowed(limits, _flattened(part))
    for word in ("anyOf", "oneOf"):
        limits = narrowed(
            limits, _merge_alternatives([_flattened(branch) for branch in node.get(word, ())])
        )
    return limits


def _merge_alternatives(branches: list[Schema]) -> Schema:
    """One schema for alternatives: the union of their enums, else the first alternative that is not null."""
    real = [branch for branch in branches if types_of(branch) != {"null"}]
    if real and all("enum" in branch for branch in real):
        return {"enum": [word for branch in real for word in branch["enum"]]}
    return real[0] if real else {}


def _resolve(reference: str, roots: Iterable[Any]) -> Any:
    """Resolve a local JSON pointer in the first root that has it; False (allow nothing) if there is none."""
    for node in roots:
        try:
            for part in unquote(reference.removeprefix("#")).split("/")[1:]:
                key = part.replace("~1", "/").replace("~0", "~")
                node = node[int(key)] if isinstance(node, list) else node[key]
        except (LookupError, ValueError, TypeError):
            continue
        return node if reference.startswith("#") else False
    return False
