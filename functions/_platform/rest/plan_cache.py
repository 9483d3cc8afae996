"""What was parsed and planned before: clients poll, and an app sends the same few requests.

A hit saves parsing, planning and rendering, half of the process's work. Values in the URL are part of a plan, so a
query for another id is another entry; a body is not (``sql.fragment.Body``), but the names that it has are.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from starlette.types import Scope

from functions._platform.rest.catalogue.model import Catalogue
from functions._platform.rest.payload import Payload
from functions._platform.rest.planned import Planned
from functions._platform.rest.request import Asked

V = TypeVar("V")
MAX_ENTRIES = 512
MAX_KEY_BYTES = 2048
"""Longer requests are not kept, which bounds the caches' memory."""
MAX_NAMES = 64
"""The same for the names of a body."""
HEADERS = frozenset(
    {b"accept", b"accept-profile", b"content-profile", b"content-type", b"prefer", b"range"}
)
"""All headers that a plan depends on."""

Key = tuple[Hashable, ...]


class Lru(Generic[V]):
    """A key of None is never kept."""

    def __init__(self) -> None:
        self._values: OrderedDict[Key, V] = OrderedDict()

    def get(self, key: Key | None) -> V | None:
        value = self._values.get(key) if key else None
        if key and value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key | None, value: V) -> None:
        if key is None:
            return
        self._values[key] = value
        if len(self._values) > MAX_ENTRIES:
            self._values.popitem(last=False)


class PlanCache:
    """Plans of a catalogue that was replaced are dropped with it."""

    def __init__(self) -> None:
        self.asked = Lru[Asked]()
        self._planned = Lru[Planned]()
        self._catalogue: Catalogue | None = None

    def planned(self, catalogue: Catalogue) -> Lru[Planned]:
        if self._catalogue is not catalogue:
            self._planned = Lru[Planned]()  # a request under way keeps the former one
            self._catalogue = catalogue
        return self._planned


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
