"""Reading a relation: columns, filters, order, windows, counts, and errors that name what is wrong."""

from decimal import Decimal
from json import loads

import pytest

from tests.functions._platform.rest.conftest import Rest


def ids(rest: Rest, query: str) -> list[int]:
    return [row["id"] for row in rest.rows(f"/books?select=id&{query}&order=id")]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("id=eq.2", [2]),
        ("id=neq.2", [1, 3]),
        ("id=not.eq.2", [1, 3]),
        ("id=gt.1&id=lt.3", [2]),
        ("id=gte.2", [2, 3]),
        ("id=in.(1,3)", [1, 3]),
        ("title=in.(\"Emma\",\"The Guest\")", [1, 2]),
        ("id=in.()", []),
        ("id=not.in.(1,3)", [2]),
        ("title=like.*e*", [2, 3]),
        ("title=ilike.E*", [1]),
        ("title=like(any).{E*,Q*}", [1, 3]),
        ("title=like(all).{*u*,Q*}", [3]),
        ("title=match.^The", [2]),
        ("title=imatch.^the", [2]),
        ("price=is.null", [3]),
        ("price=not.is.null", [1, 2]),
        ("editor_id=isdistinct.3", [2, 3]),
        ("tags=cs.{novel}", [1, 2]),
        ("tags=cd.{novel,other}", [2, 3]),
        ("tags=ov.{\"old, very\"}", [1]),
        ("lent=adj.[2020-02-01,2020-03-01)", [1]),
        ("lent=sl.[2020-06-01,2020-07-01)", [1]),
        ("words=fts.guest", [2]),
        ("title=plfts(english).quiet day", [3]),
        ("title=wfts.emma or guest", [1, 2]),
        ("data->pages=gt.450", [1]),
        ("data->>pages=eq.400", [2]),
        ("data->in->0->>lang=eq.en", [1]),
        ("or=(id.eq.1,and(id.gt.1,price.is.null))", [1, 3]),
        ("not.or=(id.eq.1,id.eq.2)", [3]),
        ("and=(id.gt.1,title.not.like.Q*)", [2]),
        ("by_line=eq.by Ann", [1]),
        ("format=eq.audio", [2]),
    ],
)  # fmt: skip
def test_filters(rest: Rest, query: str, found: list[int]):
    assert ids(rest, query) == found


def test_columns_are_renamed_cast_and_looked_into(rest: Rest):
    select = "name:title,copies::text,data->pages,data->in->0->>lang,by_line"
    assert rest.rows(f"/books?select={select}&id=eq.1") == [
        {"name": "Emma", "copies": "9007199254740993", "pages": 474, "lang": "en", "by_line": "by Ann"}
    ]  # fmt: skip


def test_numbers_are_exact(rest: Rest):
    """JSON made by PostgreSQL is passed on, not parsed: a float would lose both."""
    text = rest.get("/books?select=copies,price&order=id&limit=2").text
    rows = loads(text, parse_float=Decimal)
    assert rows[0]["copies"] == 9007199254740993
    assert rows[1]["price"] == Decimal("0.10000000000000000001")


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("id.desc", [3, 2, 1]),
        ("price", [2, 1, 3]),
        ("price.desc", [3, 1, 2]),
        ("price.desc.nullslast", [1, 2, 3]),
        ("price.asc.nullsfirst", [3, 2, 1]),
        ("data->pages.desc.nullslast,id", [1, 2, 3]),
        ("by_line,id.desc", [1, 3, 2]),
    ],
)
def test_order(rest: Rest, order: str, found: list[int]):
    assert [row["id"] for row in rest.rows(f"/books?select=id&order={order}")] == found


@pytest.mark.parametrize(
    ("query", "headers", "status", "content_range"),
    [
        ("", {}, 200, "0-2/*"),
        ("limit=2", {}, 200, "0-1/*"),
        ("limit=2&offset=1", {"prefer": "count=exact"}, 206, "1-2/3"),
        ("", {"range": "1-1"}, 200, "1-1/*"),
        ("limit=2", {"range": "1-9", "prefer": "count=exact"}, 206, "1-1/3"),
        ("id=eq.9", {"prefer": "count=exact"}, 200, "*/0"),
        ("limit=0", {}, 200, "*/*"),
        ("offset=4", {"prefer": "count=exact"}, 416, "*/3"),
    ],
)
def test_windows_and_counts(
    rest: Rest, query: str, headers: dict[str, str], status: int, content_range: str
):
    answer = rest.get(f"/books?select=id&{query}", **headers)
    assert (answer.status_code, answer.headers["content-range"]) == (status, content_range)


@pytest.mark.parametrize("kind", ["planned", "estimated"])
def test_counts_of_the_planner(rest: Rest, kind: str):
    """Of a table that no test writes: rolled back rows change the estimate."""
    answer = rest.get("/shifts", accept_profile="staff", prefer=f"count={kind}")
    assert (answer.status_code, answer.headers["content-range"]) == (200, "0-0/1")


def test_a_range_past_the_end_says_how_many_rows_there_are(rest: Rest):
    answer = rest.get("/books?offset=4", prefer="count=exact")
    assert answer.json() == {
        "code": "PGRST103",
        "details": "An offset of 4 was requested, but there are only 3 rows.",
        "hint": None,
        "message": "Requested range not satisfiable",
    }
    assert rest.get("/books", range="2-1").json()["code"] == "PGRST103"
    assert rest.get("/books?limit=-1").json()["code"] == "PGRST103"


def test_head_counts_without_a_body(rest: Rest):
    answer = rest("HEAD", "/books?id=lt.3", prefer="count=exact")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-range"] == "0-1/2"
    assert "content-length" not in answer.headers


def test_max_rows_bounds_answers_but_not_counts(rest_with):
    rest = rest_with(PGRST_DB_MAX_ROWS="2")
    answer = rest.get("/books?select=id&limit=10", prefer="count=exact")
    assert (len(answer.json()), answer.headers["content-range"]) == (2, "0-1/3")
    authors = rest.rows("/authors?select=id,books!books_author(id)")
    assert len(authors) == 2
    assert all(len(author["books"]) <= 2 for author in authors)


def test_content_location_is_the_query_in_canonical_form(rest: Rest):
    answer = rest.get("/books?title=eq.a+b&id=eq.%31")
    assert answer.headers["content-location"] == "/books?id=eq.1&title=eq.a%20b"


def test_names_with_any_characters(rest: Rest):
    table = "/odd%20%22table%22%20(%C3%BCn%C3%AFcode)"
    assert rest.rows(f'{table}?select="the, column","a.b"&"a.b"=eq.x') == [
        {"the, column": 1, "a.b": "x"}
    ]


@pytest.mark.parametrize(
    ("path", "status", "code", "hint"),
    [
        ("/book", 404, "PGRST205", "Perhaps you meant the table 'api.books'"),
        ("/secrets", 404, "PGRST205", None),
        ("/books?select=id,title2", 400, "42703", "Perhaps you meant to reference the column"),
        ("/books?select=id,coverz(*)", 400, "PGRST200", "Perhaps you meant 'covers' instead of 'coverz'."),
        ("/books?covers.colour=eq.x", 400, "PGRST108", "Verify that 'covers' is included"),
        ("/books?id=eqq.1", 400, "PGRST100", None),
        ("/books?select=id(", 400, "PGRST100", None),
        ("/books?id=eq.x", 400, "22P02", None),
        ("/books?order=covers(colour)", 400, "PGRST108", "Verify that 'covers' is included"),
        ("/books?select=copies.sum()", 400, "PGRST123", None),
        ("/notes", 401, "42501", None),
        ("/books/1", 404, "PGRST125", None),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(rest: Rest, path: str, status: int, code: str, hint: str | None):
    answer = rest.get(path)
    error = answer.json()
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"code", "message", "details", "hint"}
    assert answer.headers["proxy-status"] == f"PostgREST; error={code}"
    assert hint is None or str(error["hint"]).startswith(hint)


def test_schemas_are_chosen_by_profile(rest: Rest):
    answer = rest.get("/shifts", accept_profile="staff")
    assert answer.json() == [{"id": 1, "who": "Ann"}]
    assert answer.headers["content-profile"] == "staff"
    assert rest.get("/shifts").status_code == 404, "the first schema is the default"
    refused = rest.get("/secrets", accept_profile="hidden")
    assert (refused.status_code, refused.json()["code"]) == (406, "PGRST106")
    assert refused.json()["hint"] == "Only the following schemas are exposed: api, staff"


def test_row_level_security_holds(rest: Rest):
    assert rest.rows("/notes?select=text", role="authenticated", sub="ann") == [{"text": "mine"}]
    assert rest.rows("/notes?select=text", role="authenticated", sub="cal") == []
    assert rest.get("/notes", role="postgres").status_code == 403, (
        "a role that the login is no member of"
    )


@pytest.mark.parametrize("cast", ["$1", "$$", "$a$", "int $$", "int $1", "1x"])
def test_a_cast_is_words(rest: Rest, cast: str):
    """SQL injection: a type's name is not quoted, and ``$$`` would open a string that swallows the statement."""
    answer = rest.get(f"/books?select=id::{cast},title::$$ text")
    word = cast.split()[-1]
    assert answer.status_code == 400
    assert answer.json()["message"] == f'syntax error at or near "{word}"'


@pytest.mark.parametrize(
    "query", ["select=" + "id," * 2000 + "id", "order=" + "data->a," * 2000 + "id"]
)
def test_too_many_columns_are_the_request_s_error(rest: Rest, query: str):
    answer = rest.get(f"/books?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "54011")


@pytest.mark.parametrize(
    "accept", ["application/json", "application/vnd.pgrst.array+json;nulls=stripped", "text/csv"]
)
def test_an_answer_is_bounded_in_bytes(rest: Rest, monkeypatch, accept: str):
    """Memory: nested embeds multiply the rows of each level."""
    monkeypatch.setattr("functions._platform.rest.sql.statement.MAX_ANSWER_BYTES", 400)
    wide = "id," + ",".join(f"a{number}:title" for number in range(100))
    for path in ("/books?id=gt.0", "/rpc/by_format?wanted=paper"):
        assert rest.get(f"{path}&select=id", accept=accept).status_code == 200
        answer = rest.get(f"{path}&select={wide}", accept=accept)
        assert (answer.status_code, answer.json()["code"]) == (400, "54000")
    assert rest.get(f"/books?id=gt.99&select={wide}", accept=accept).status_code == 200
