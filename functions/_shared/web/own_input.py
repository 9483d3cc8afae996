"""The ``input`` object of a request: a model's own inputs. Bounded and storable; the addresses among its values."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from functions._shared.web.fields import storable

MAX_KEYS = 100
MAX_KEY = 200
MAX_BYTES = 32 * 1024
"""Of the object's JSON without its data: URIs, which are stored apart."""
MAX_DEPTH = 8
MAX_NUMBER = 2**64
"""Seeds have 64 bits at most. JSON can spell what jsonb does not store, 1e400, and numbers of 4300 digits."""

# A data: URI names its media type at once; "Data: the android" is a prompt.
_ADDRESS = re.compile(r"(?:https?://|data:(?=[\w.+-]+/|[;,]))", re.IGNORECASE)


def is_address(value: Any) -> bool:
    return isinstance(value, str) and _ADDRESS.match(value) is not None


def addresses_in(own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, address) for each text, at any depth, that is a URL or a data: URI."""
    for key, value in own.items():
        for text in texts_in(value):
            if is_address(text):
                yield key, text


def each_address(value: Any, change: Callable[[str], str]) -> Any:
    """``value`` with each address in it changed."""
    if isinstance(value, dict):
        return {key: each_address(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [each_address(part, change) for part in value]
    return change(value) if is_address(value) else value


def texts_in(value: Any) -> Iterator[str]:
    """All texts in ``value``, the keys of objects among them."""
    return (part for part in _parts(value) if isinstance(part, str))


def _parts(value: Any) -> Iterator[Any]:
    """All parts of ``value`` that are no lists or objects, the keys of objects among them."""
    if isinstance(value, dict | list):
        for part in _children(value):
            yield from _parts(part)
    else:
        yield value


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    return value if isinstance(value, list) else []


def _bounded(own: dict[str, Any]) -> dict[str, Any]:
    if len(own) > MAX_KEYS or any(not key or len(key) > MAX_KEY for key in own):
        raise PydanticCustomError(
            "keys",
            "must have at most {keys} keys of 1 to {key} characters",
            {"keys": MAX_KEYS, "key": MAX_KEY},
        )
    if _is_deeper(own, MAX_DEPTH):
        raise PydanticCustomError(
            "depth", "must not be nested deeper than {most}", {"most": MAX_DEPTH}
        )
    for part in _parts(own):
        if isinstance(part, str):
            storable(part)
        elif isinstance(part, int | float) and not abs(part) <= MAX_NUMBER:  # NaN is not, either
            raise PydanticCustomError("number", "must hold numbers up to 2^64 only")
    without = each_address(own, lambda text: "" if text[:5].casefold() == "data:" else text)
    if len(json.dumps(without)) > MAX_BYTES:
        raise PydanticCustomError(
            "size", "must have at most {most} bytes, data: URIs apart", {"most": MAX_BYTES}
        )
    return {key: each_address(value, _scheme_in_lower_case) for key, value in own.items()}


def _scheme_in_lower_case(address: str) -> str:
    scheme, _, rest = address.partition(":")
    return f"{scheme.lower()}:{rest}"


def _without_references(own: dict[str, Any]) -> dict[str, Any]:
    # References to kept pictures have this form (kept_sources.py): a client's would read another user's picture.
    for key, text in addresses_in(own):
        if text[:6].casefold() == "data:,":
            raise PydanticCustomError(
                "reference", "{key} must be an address or a picture", {"key": key}
            )
    return own


def _is_deeper(value: Any, most: int) -> bool:
    """Level by level: recursion would overflow the stack at the depth that it is to refuse."""
    level = [value]
    for _ in range(most):
        level = [part for parent in level for part in _children(parent)]
    return bool(level)


KeptInput = Annotated[dict[str, Any], Field(max_length=MAX_KEYS), AfterValidator(_bounded)]
"""As a job carries it: with references to kept pictures."""
OwnInput = Annotated[KeptInput, AfterValidator(_without_references)]
"""As a client sends it."""
