"""The caches of requests and plans: what is kept, and the bounds on their memory."""

import pytest

from functions._platform.rest.catalogue.model import Catalogue
from functions._platform.rest.media_types import JSON
from functions._platform.rest.plan_cache import (
    MAX_BYTES,
    MAX_ENTRIES,
    MAX_KEY_BYTES,
    MAX_STATEMENT_BYTES,
    Lru,
    PlanCache,
    asked_key,
)
from functions._platform.rest.planned import Planned
from functions._platform.rest.sql.fragment import Template

EMPTY = Catalogue(180000, {}, {}, {}, {}, (), {}, {})


def kept(cache: Lru[int], size: int) -> int:
    """How many keys of ``size`` bytes are still there after twice as many as may be."""
    keys = [("GET", b"%d" % number + b"x" * size) for number in range(MAX_ENTRIES * 2)]
    for number, key in enumerate(keys):
        cache.put(key, number)
        cache.put(key, number)
    return sum(cache.get(key) is not None for key in keys)


def test_entries_are_bounded_by_their_number_and_their_bytes():
    assert kept(Lru[int](), 0) == MAX_ENTRIES
    size = 4 * MAX_BYTES // MAX_ENTRIES
    assert MAX_ENTRIES // 8 < kept(Lru[int](), size) <= MAX_ENTRIES // 4


def test_the_least_recently_used_goes_first():
    cache = Lru[int]()
    for number in range(MAX_ENTRIES):
        cache.put((number,), number + 1)
    assert cache.get((0,))
    cache.put(("new",), 1)
    assert cache.get((0,))
    assert cache.get((1,)) is None


@pytest.mark.parametrize(
    ("size", "is_kept"), [(MAX_STATEMENT_BYTES, True), (MAX_STATEMENT_BYTES + 1, False)]
)
def test_long_statements_are_not_kept(size: int, is_kept: bool):
    plans = PlanCache().planned(EMPTY)
    planned = Planned("read", Template(b"x" * size, ()), JSON, read_only=True)
    plans.put((b"key",), planned)
    assert (plans.get((b"key",)) is planned) == is_kept


def test_a_replaced_catalogue_s_plans_are_dropped():
    cache, planned = PlanCache(), Planned("read", Template(b"", ()), JSON, read_only=True)
    cache.planned(EMPTY).put((b"key",), planned)
    assert cache.planned(EMPTY).get((b"key",)) is planned
    other = Catalogue(180000, {}, {}, {}, {}, (), {}, {})
    assert cache.planned(other).get((b"key",)) is None


def test_long_requests_have_no_key():
    scope = {
        "method": "GET",
        "path": "/x",
        "query_string": b"",
        "headers": [(b"host", b"x" * MAX_KEY_BYTES)],
    }
    assert asked_key(scope) == ("GET", b"/x", b"")
    assert asked_key({**scope, "query_string": b"x" * MAX_KEY_BYTES}) is None
