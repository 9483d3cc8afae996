"""What was parsed and planned before: clients poll, and an app sends the same few requests.

A hit saves parsing, planning and rendering, half of the process's work. Values in the URL are part of a plan, so a
query for another id is another entry; a body is not (``sql.fragment.Body``), but the names that it has are.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from starlette.types import Scope

from functions._platform.rest.catalogue.model import Catalogue
from functions._platform.rest.payload import Payload
from functions._platform.rest.planned import Planned
from functions._platform.rest.request import Asked

V = TypeVar("V")
MAX_ENTRIES = 512
MAX_KEY_BYTES = 2048
"""Longer requests are not kept."""
MAX_BYTES = 256 * 1024
"""Of all requests together. The tree of one takes a hundred times its bytes."""
MAX_STATEMENT_BYTES = 8 * 1024
"""Longer statements are not kept: a short request can name hundreds of embeds."""
MAX_NAMES = 64
"""Of a body: with more its plan is not kept."""
HEADERS = frozenset(
    {b"accept", b"accept-profile", b"content-profile", b"content-type", b"prefer", b"range"}
)
"""All headers that a plan depends on."""

Key = tuple[Hashable, ...]


class Lru(Generic[V]):
    """A key of None is never kept, nor is a value that does not fit. Bounded by the number and by the keys' bytes."""

    def __init__(self, fits: Callable[[V], bool] = lambda _: True) -> None:
        self._fits = fits
        self._values: OrderedDict[Key, V] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key | None) -> V | None:
        value = self._values.get(key) if key else None
        if key and value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key | None, value: V) -> None:
        if key is None or key in self._values or not self._fits(value):
            return
        self._values[key] = value
        self._bytes += _size(key)
        while len(self._values) > MAX_ENTRIES or self._bytes > MAX_BYTES:
            evicted, _ = self._values.popitem(last=False)
            self._bytes -= _size(evicted)


def _size(key: Key) -> int:
    return sum(len(part) for part in key if isinstance(part, bytes))


class PlanCache:
    """Plans of a catalogue that was replaced are dropped with it."""

    def __init__(self) -> None:
        self.asked = Lru[Asked]()
        self._planned = Lru[Planned](_is_short)
        self._catalogue: Catalogue | None = None

    def planned(self, catalogue: Catalogue) -> Lru[Planned]:
        if self._catalogue is not catalogue:
            self._planned = Lru[Planned](_is_short)  # a request under way keeps the former one
            self._catalogue = catalogue
        return self._planned


def _is_short(planned: Planned) -> bool:
    return len(planned.statement.text) <= MAX_STATEMENT_BYTES


def asked_key(scope: Scope) -> Key | None:
    """Everything that is parsed of a request, but its body."""
    headers = [part for pair in scope["headers"] if pair[0] in HEADERS for part in pair]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    parts = (path, scope["query_string"], *headers)
    return (scope["method"], *parts) if sum(map(len, parts)) <= MAX_KEY_BYTES else None


def plan_key(key: Key | None, payload: Payload | None) -> Key | None:
    """``key`` and what a plan depends on of the body: a form's texts are part of it, so it is not kept."""
    if payload is None or key is None:
        return key
    if payload.kind == "form" or len(payload.keys) > MAX_NAMES:
        return None
    return (*key, payload.kind, payload.keys, payload.is_object)
