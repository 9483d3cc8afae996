"""Validity by a JSON Schema, safe from ReDoS. Imported where it is first asked for: jsonschema takes 30 ms and 3 MB."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import extend
from referencing import Registry

from functions._shared.image_models.json_schema import Schema


class _PatternMet(Exception):
    """Validation reached a ``pattern`` for a string: never evaluated, so the value counts as invalid."""


def _refuse_pattern(_: Any, __: Any, value: Any, ___: Any) -> Iterator[SchemaError]:
    if isinstance(value, str):
        raise _PatternMet
    yield from ()


# ReDoS: schemas are published by strangers, and ^(a+)+$ takes Python's ``re`` 2^n steps while holding the GIL. Patterns
# are therefore never evaluated: a string under a ``pattern``, wherever in the schema, counts as invalid, is not sent.
_PatternlessValidator: Any = extend(Draft202012Validator, {"pattern": _refuse_pattern})  # type: ignore[no-untyped-call]


class Validator:
    """Conservative validation: external references are never fetched, patterns never evaluated."""

    def __init__(self, schema: Schema) -> None:
        registry: Registry[Any] = Registry()
        self._validator = _PatternlessValidator(schema, registry=registry)

    def is_valid(self, value: Any) -> bool:
        try:
            return bool(self._validator.is_valid(value))
        except _PatternMet:
            return False


def allows(schema: Schema, value: Any) -> bool:
    """Whether ``value`` is known to be valid (see ``Validator``)."""
    return Validator(schema).is_valid(value)


def is_schema(node: Any) -> bool:
    """Whether ``node`` is a JSON Schema that allows something."""
    try:
        Draft202012Validator.check_schema(node)
    except SchemaError:
        return False
    return node is not False
