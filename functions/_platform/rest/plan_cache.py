"""Plans of reading requests that were made before: clients poll, and many send the same query.

A hit saves parsing, planning and rendering, half of the process's work. Values are part of a plan, so a query for
another id is another entry.
"""

from collections import OrderedDict
from typing import NamedTuple

from starlette.types import Scope

from functions._platform.rest.catalogue.model import Catalogue
from functions._platform.rest.planned import Planned
from functions._platform.rest.request import READING, Asked

MAX_PLANS = 512
MAX_KEY_BYTES = 2048
"""Longer requests are not kept, which bounds the cache's memory."""
HEADERS = frozenset({b"accept", b"accept-profile", b"content-type", b"prefer", b"range"})
"""All headers that a plan depends on."""

Key = tuple[bytes, ...]


class Made(NamedTuple):
    asked: Asked
    planned: Planned


class PlanCache:
    """LRU. Plans of a catalogue that was replaced are dropped with it."""

    def __init__(self) -> None:
        self._catalogue: Catalogue | None = None
        self._made: OrderedDict[Key, Made] = OrderedDict()

    def get(self, key: Key | None, catalogue: Catalogue) -> Made | None:
        if self._catalogue is not catalogue:
            self._made.clear()
            self._catalogue = catalogue
        made = self._made.get(key) if key else None
        if key and made:
            self._made.move_to_end(key)
        return made

    def put(self, key: Key | None, catalogue: Catalogue, made: Made) -> None:
        if key is None or self._catalogue is not catalogue:
            return
        self._made[key] = made
        if len(self._made) > MAX_PLANS:
            self._made.popitem(last=False)


def key_of(scope: Scope) -> Key | None:
    """Everything that a plan depends on, but the catalogue; None for a request whose plan is not kept."""
    if scope["method"] not in READING:
        return None
    headers = [part for pair in scope["headers"] if pair[0] in HEADERS for part in pair]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    key = (scope["method"].encode(), path, scope["query_string"], *headers)
    return key if sum(map(len, key)) <= MAX_KEY_BYTES else None
