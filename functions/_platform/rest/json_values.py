"""A JSON body's keys, found without the whole of it in memory as Python objects: those take up to 25 times its bytes.

Python's own parser, as it can stop behind each element of an array; between two of them other threads run.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from functions._platform.rest import errors

SPACE = re.compile(r"[ \t\n\r]*")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# float: int refuses thousands of digits, which are a numeric of PostgreSQL's.
DECODER = json.JSONDecoder(parse_int=float, parse_constant=_refuse)


def keys_of(body: bytes) -> frozenset[str] | None:
    """The keys of an object, or of all objects of an array; None for no rows: an empty array or, as upstream has it, a
    scalar.

    Raises ValueError, or RecursionError for deep nesting, where ``body`` is no JSON; RestError PGRST102 for an array of
    something else than objects with equal keys.
    """
    text = body.decode()
    start = _next(text, 0)
    if not text.startswith("[", start):
        [value] = _values(text)
        return frozenset(value) if isinstance(value, dict) else None
    keys, is_uniform = None, True
    for row in _values(text):
        if not isinstance(row, dict):
            is_uniform = False
        elif keys is None:
            keys = row.keys()
        elif row.keys() != keys:
            is_uniform = False
    if not is_uniform:  # only now: of a syntax error behind it is told first
        raise errors.invalid_body("All object keys must match")
    return None if keys is None else frozenset(keys)


def refuse_invalid(body: bytes) -> None:
    """Raises ValueError, or RecursionError for deep nesting, where ``body`` is no JSON."""
    for _ in _values(body.decode()):
        pass


def _values(text: str) -> Iterator[Any]:
    """The elements of the outermost array, or the one value that is none."""
    at = _next(text, 0)
    if not text.startswith("[", at):
        value, at = DECODER.raw_decode(text, at)
        yield value
    else:
        at = _next(text, at + 1)
        if not text.startswith("]", at):
            value, at = DECODER.raw_decode(text, at)
            yield value
            at = _next(text, at)
            while text.startswith(",", at):
                value, at = DECODER.raw_decode(text, _next(text, at + 1))
                yield value
                at = _next(text, at)
            if not text.startswith("]", at):
                raise ValueError("unterminated array")
        at += 1
    if _next(text, at) != len(text):
        raise ValueError("something behind the value")


def _next(text: str, at: int) -> int:
    """The position behind white space."""
    found = SPACE.match(text, at)
    assert found is not None  # the pattern matches nothing as well
    return found.end()
