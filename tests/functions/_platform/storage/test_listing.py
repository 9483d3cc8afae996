"""Listings: levels, search, order, pages by offset and cursor; one index probe per entry at any size."""

import base64
import itertools
import json
from typing import Any

import pytest

from functions._platform.storage.listing_sql import Level, by_name, flat
from tests.conftest import Database, Edge
from tests.functions._platform.storage.calls import call, told

NAMES = [
    "a.png",
    "A.png",
    "b/1.png",
    "b/2.png",
    "b/sub/3.png",
    "b-0.png",
    "b.png",
    "b0.png",
    "c_%/x.png",
    "folder/x/y/z.png",
    "holiday (1).png",
]


@pytest.fixture
def filled(idle_edge: Edge, db: Database) -> Edge:
    fill(db, NAMES)
    return idle_edge


def fill(db: Database, names: list[str]) -> None:
    db.execute(
        "insert into storage.objects (bucket_id, name, created_at, updated_at, metadata)"
        " select 'generated-images', name, now() + place * interval '1 s', now(), '{}'"
        " from unnest(%s::text[]) with ordinality as given (name, place)",
        (names,),
    )


def v1(edge: Edge, **asked: Any) -> list[str]:
    """Names; a folder's ends with a slash here."""
    path = "object/list/generated-images"
    answer = call(edge, "POST", path, edge.service_role_key, json={"prefix": "", **asked})
    assert answer.status_code == 200, answer.text
    return [entry["name"] + ("" if entry["id"] else "/") for entry in answer.json()]


def v2(edge: Edge, **asked: Any) -> list[str]:
    """All pages; folders before objects within each."""
    names, cursor = list[str](), None
    while True:
        body = {**asked, **({"cursor": cursor} if cursor else {})}
        path = "object/list-v2/generated-images"
        answer = call(edge, "POST", path, edge.service_role_key, json=body)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        names += [entry["name"] for entry in page["folders"] + page["objects"]]
        assert len(page["folders"] + page["objects"]) <= asked.get("limit", 1000)
        if not page["hasNext"]:
            return names
        cursor = page["nextCursor"]


TOP = [
    "A.png",
    "a.png",
    "b-0.png",
    "b.png",
    "b/",
    "b0.png",
    "c_%/",
    "folder/",
    "holiday (1).png",
]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_level_by_name(filled: Edge, order):
    expected = TOP if order == "asc" else TOP[::-1]
    sort = {"column": "name", "order": order}
    assert v1(filled, sortBy=sort) == expected
    pages = [v1(filled, sortBy=sort, limit=2, offset=offset) for offset in range(0, 10, 2)]
    assert [*itertools.chain(*pages)] == expected
    inner = ["1.png", "2.png", "sub/"]
    assert v1(filled, prefix="b", sortBy=sort) == (inner if order == "asc" else inner[::-1])


def test_a_level_by_time(filled: Edge):
    sort = {"column": "created_at", "order": "desc"}
    folders = ["folder/", "c_%/", "b/"]
    objects = ["holiday (1).png", "b0.png", "b.png", "b-0.png", "A.png", "a.png"]
    assert v1(filled, sortBy=sort) == folders + objects
    assert v1(filled, sortBy=sort, prefix="b/") == ["sub/", "2.png", "1.png"]


@pytest.mark.parametrize(
    ("prefix", "search", "found"),
    [
        ("", "A", ["A.png", "a.png"]),
        ("", "B", ["b-0.png", "b.png", "b/", "b0.png"]),
        ("", "png", []),  # the beginning of a name, as upstream
        ("", "%", []),  # no wildcards
        ("", "C_%", ["c_%/"]),
        ("", "_", []),
        ("b", "s", ["sub/"]),
        ("", "b/s", ["b/sub/"]),  # goes on into a folder
        ("b", "sub/", ["sub/3.png"]),
    ],
)
@pytest.mark.parametrize("column", ["name", "created_at"])
def test_search(filled: Edge, prefix, search, found, column):
    sort = {"column": column, "order": "asc"}
    assert sorted(v1(filled, prefix=prefix, search=search, sortBy=sort)) == found


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("column", ["name", "created_at"])
@pytest.mark.parametrize("delimited", [True, False])
def test_pages_by_cursor(filled: Edge, limit, order, column, delimited):
    sort = {"column": column, "order": order}
    found = v2(filled, limit=limit, sortBy=sort, with_delimiter=delimited)
    expected = sorted(TOP if delimited else NAMES)
    assert sorted(found) == expected
    if limit == 1 and column == "name":
        assert found == (expected if order == "asc" else expected[::-1])
    below = v2(filled, limit=limit, sortBy=sort, with_delimiter=delimited, prefix="b/")
    inner = ["b/1.png", "b/2.png", "b/sub/" if delimited else "b/sub/3.png"]
    assert sorted(below) == inner


def test_the_cursor_has_upstreams_shape(filled: Edge):
    body = {"limit": 5, "with_delimiter": True}
    path, key = "object/list-v2/generated-images", filled.service_role_key
    page = call(filled, "POST", path, key, json=body).json()
    assert base64.b64decode(page["nextCursor"]).decode() == "l:b/\no:asc\nc:name"
    assert page["nextCursorKey"] == "b/"
    for cursor in ("%", "bm8=", base64.b64encode(b"l:a\nc:metadata").decode()):
        answer = call(filled, "POST", path, key, json={"cursor": cursor})
        assert told(answer) == (400, "400", "Invalid Parameter continuation token")


def pages_read(db: Database, statement: str, values: dict[str, Any]) -> int:
    """Buffer pages, under a user's policies."""
    db.execute("begin")
    db.execute("set local role authenticated")
    claims = json.dumps({"sub": USER, "role": "authenticated"})
    db.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
    rows = db.execute(f"explain (analyze, buffers, format json) {statement}".encode(), values)
    plan = rows.fetchone()
    db.execute("rollback")
    assert plan
    top = plan["QUERY PLAN"][0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


USER = "00000000-0000-4000-8000-000000000001"


@pytest.mark.slow
def test_a_listing_reads_what_it_tells(db: Database):
    """100,000 objects of the user in one folder, 100,000 of others beside: pages read do not grow with them."""
    db.execute(
        "insert into storage.objects (bucket_id, name) select 'generated-images',"
        " case when i %% 2 = 0 then %s else gen_random_uuid()::text end || '/' || i || '.png'"
        " from generate_series(1, 200000) as i",
        (USER,),
    )
    db.execute("vacuum analyze storage.objects")
    mine = Level("generated-images", f"{USER}/")
    assert pages_read(db, *by_name(mine, "asc", 100, 0)) < 1500
    assert pages_read(db, *by_name(mine, "desc", 100, 0)) < 1500
    assert pages_read(db, *flat(mine, "asc", 100, f"{USER}/15.png")) < 500
    # At the root one folder is the user's, and one probe passes by all that is in it.
    assert pages_read(db, *by_name(Level("generated-images", USER), "asc", 100, 0)) < 100


def test_limits_of_listings(idle_edge: Edge):
    key = idle_edge.service_role_key
    for body in ({"prefix": "a" * 2000}, {"prefix": "", "limit": 0}, {"prefix": "", "offset": -1}):
        answer = call(idle_edge, "POST", "object/list/generated-images", key, json=body)
        assert told(answer)[:2] == (400, "400")
    assert v1(idle_edge, limit=10**9, offset=2**31 - 1) == []
