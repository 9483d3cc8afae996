"""Writing: INSERT, upserts, PUT, PATCH and DELETE, their preferences, and what they refuse.

Every request is rolled back unless it says otherwise, so tests cannot see each other's rows.
"""

import pytest

from tests.functions._platform.rest.conftest import Rest

FULL = "return=representation"


def test_one_row(rest: Rest):
    body = {"title": "New", "author_id": 1, "tags": ["a", "b,c"], "data": {"x": [1, None]}}
    answer = rest("POST", "/books?select=title,tags,data,format,copies", body, prefer=FULL)
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, FULL)
    assert answer.json() == [
        {
            "title": "New",
            "tags": ["a", "b,c"],
            "data": {"x": [1, None]},
            "format": "paper",
            "copies": 1,
        }
    ]


def test_by_default_nothing_is_answered(rest: Rest):
    answer = rest("POST", "/books", {"title": "New"})
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["content-range"] == "*/*"
    assert "content-type" not in answer.headers
    for method, path in [("PATCH", "/books?id=eq.1"), ("DELETE", "/books?id=eq.3")]:
        answer = rest(method, path, {"copies": 4}, prefer="count=exact")
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["content-range"] in {"0-0/1", "*/1"}


def test_headers_only_tells_where_the_row_is(rest: Rest):
    answer = rest("POST", "/covers", {"book_id": 3, "colour": "&"}, prefer="return=headers-only")
    assert (answer.status_code, answer.headers["location"]) == (201, "/covers?book_id=eq.3")
    rows = [{"book_id": 1, "shelf_id": 3}, {"book_id": 2, "shelf_id": 3}]
    answer = rest("POST", "/placements", rows, prefer="return=headers-only")
    assert "location" not in answer.headers, "of several rows"
    answer = rest("POST", "/placements", rows[0], prefer="return=headers-only")
    assert answer.headers["location"] == "/placements?book_id=eq.1&shelf_id=eq.3"


def test_many_rows_and_embeds_of_what_was_written(rest: Rest):
    rows = [{"title": "One", "author_id": 1}, {"title": "Two", "author_id": 2}]
    path = "/books?select=title,authors!books_author(name)&order=title.desc"
    answer = rest("POST", path, rows, prefer=f"{FULL},count=exact")
    assert answer.headers["content-range"] == "*/2"
    assert answer.json() == [
        {"title": "Two", "authors": {"name": "Bea"}},
        {"title": "One", "authors": {"name": "Ann"}},
    ]
    assert rest("POST", "/books?select=id", [], prefer=FULL).json() == []


def test_columns_choose_what_of_the_body_is_written(rest: Rest):
    rows = [{"title": "One", "extra": 1}, {"copies": 7, "title": "Two"}]
    path = "/books?columns=title,copies&select=title,copies"
    answer = rest("POST", path, rows, prefer=f"{FULL},missing=default")
    assert answer.json() == [{"title": "One", "copies": 1}, {"title": "Two", "copies": 7}]
    refused = rest("POST", path, rows, prefer=FULL)
    assert (refused.status_code, refused.json()["code"]) == (400, "23502"), "null without default"
    refused = rest("POST", "/books?columns=nothing", rows)
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST204")
    refused = rest("POST", "/books", rows)
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST102"), "keys must match"


def test_csv_and_forms(rest: Rest):
    csv = 'title,author_id\r\n"One, two",1\r\nThree,NULL\r\n'
    path = "/books?select=title,author_id"
    answer = rest("POST", path, csv, prefer=FULL, content_type="text/csv")
    assert answer.json() == [
        {"title": "One, two", "author_id": 1},
        {"title": "Three", "author_id": None},
    ]
    form = "title=A+b&author_id=2"
    content_type = "application/x-www-form-urlencoded"
    answer = rest("POST", path, form, prefer=FULL, content_type=content_type)
    assert answer.json() == [{"title": "A b", "author_id": 2}]


def test_upserts(rest: Rest):
    rows = [{"code": "gb", "name": "UK"}, {"code": "it", "name": "Italy"}]
    merge = f"resolution=merge-duplicates, {FULL}"
    answer = rest("POST", "/countries", rows, prefer=merge)
    assert (answer.status_code, answer.json()) == (201, rows)
    assert answer.headers["preference-applied"] == merge
    assert rest("POST", "/countries", rows[:1], prefer=merge).status_code == 200, "none inserted"
    ignore = f"resolution=ignore-duplicates,{FULL}"
    assert rest("POST", "/countries", rows, prefer=ignore).json() == rows[1:]
    duplicate = rest("POST", "/countries", rows)
    assert (duplicate.status_code, duplicate.json()["code"]) == (409, "23505")
    assert duplicate.json()["details"] == "Key (code)=(gb) already exists."


def test_upserts_by_another_key(rest: Rest):
    row = {"id": 1, "name": "hall", "parent": 2}
    path = "/shelves?on_conflict=name,id"
    answer = rest("POST", path, row, prefer=f"resolution=merge-duplicates,{FULL}")
    assert (answer.status_code, answer.json()) == (200, [row])


def test_put_writes_the_one_row_that_its_address_names(rest: Rest):
    row = {"code": "it", "name": "Italy"}
    answer = rest("PUT", "/countries?code=eq.it", row, prefer=FULL)
    assert (answer.status_code, answer.json()) == (201, [row])
    row = {"code": "gb", "name": "UK"}
    assert rest("PUT", "/countries?code=eq.gb", row, prefer=FULL).status_code == 200
    assert rest("PUT", "/countries?code=eq.gb", row).status_code == 204
    for path, status, code in [
        ("/countries?code=eq.fr", 400, "PGRST115"),
        ("/countries?name=eq.UK", 405, "PGRST105"),
        ("/countries?code=gt.a", 405, "PGRST105"),
        ("/countries", 405, "PGRST105"),
        ("/countries?code=eq.gb&limit=1", 400, "PGRST114"),
    ]:
        answer = rest("PUT", path, row, prefer="tx=commit")
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
    assert rest.rows("/countries?code=eq.gb") == [{"code": "gb", "name": "Britain"}]


def test_updates(rest: Rest):
    path = "/books?author_id=eq.2&select=id,copies,by:authors!books_author(name)&order=id"
    answer = rest("PATCH", path, {"copies": 5}, prefer=f"{FULL},count=exact")
    assert (answer.status_code, answer.headers["content-range"]) == (200, "0-1/2")
    assert [row["copies"] for row in answer.json()] == [5, 5]
    assert answer.json()[0]["by"] == {"name": "Bea"}
    assert rest("PATCH", "/books?id=eq.9", {"copies": 5}, prefer=FULL).json() == []
    assert rest("PATCH", "/books?select=id,title", {}, prefer=FULL).json() == [], "no columns"
    refused = rest("PATCH", "/books?id=eq.1", {"copies": -1})
    assert (refused.status_code, refused.json()["code"]) == (400, "23514")


def test_deletes(rest: Rest):
    answer = rest("DELETE", "/books?id=eq.3&select=title", prefer=FULL)
    assert (answer.status_code, answer.json()) == (200, [{"title": "Quiet Days"}])
    answer = rest("DELETE", "/authors?id=eq.1")
    assert (answer.status_code, answer.json()["code"]) == (409, "23503")


def test_embeds_filter_the_answer_not_what_is_written(rest: Rest):
    path = "/authors?id=eq.2&select=id,books!books_author(id)&books.id=eq.3"
    answer = rest("PATCH", path, {"name": "B"}, prefer=FULL)
    assert answer.json() == [{"id": 2, "books": [{"id": 3}]}]


def test_max_affected_undoes_what_goes_beyond_it(rest: Rest):
    prefer = "handling=strict,max-affected=1,tx=commit"
    for method in ("PATCH", "DELETE"):
        answer = rest(method, "/placements?book_id=eq.1", {"book_id": 1}, prefer=prefer)
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST124")
        assert answer.json()["details"] == "The query affects 2 rows"
    assert len(rest.rows("/placements?book_id=eq.1")) == 2
    answer = rest("PATCH", "/books?id=eq.1", {"copies": 1}, prefer="handling=strict,max-affected=1")
    assert answer.headers["preference-applied"] == "handling=strict, max-affected=1"


def test_one_object_is_asked_for_and_several_were_written(rest: Rest):
    one = "application/vnd.pgrst.object+json"
    prefer = f"{FULL},tx=commit"
    answer = rest("PATCH", "/books?author_id=eq.2", {"copies": 9}, prefer=prefer, accept=one)
    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST116")
    assert rest.rows("/books?copies=eq.9") == []
    answer = rest("PATCH", "/books?id=eq.1&select=copies", {"copies": 9}, prefer=FULL, accept=one)
    assert answer.json() == {"copies": 9}


def test_generated_columns_and_views(rest: Rest):
    answer = rest("POST", "/notes", {"id": 7, "text": "x"}, role="service_role")
    assert (answer.status_code, answer.json()["code"]) == (400, "428C9")
    answer = rest("POST", "/titles?select=title", {"title": "By view"}, prefer=FULL)
    assert answer.json() == [{"title": "By view"}]
    answer = rest("POST", "/nothing", {"a": 1})
    assert (answer.status_code, answer.json()["code"]) == (404, "PGRST205")


def test_row_level_security_holds(rest: Rest):
    ann = {"role": "authenticated", "sub": "ann"}
    answer = rest("POST", "/notes?select=owner", {"owner": "ann"}, prefer=FULL, **ann)
    assert answer.json() == [{"owner": "ann"}]
    answer = rest("POST", "/notes", {"owner": "bea"}, **ann)
    assert (answer.status_code, answer.json()["code"]) == (403, "42501")
    assert rest("PATCH", "/notes?owner=eq.bea", {"text": "x"}, prefer=FULL, **ann).json() == []
    assert rest("POST", "/notes", {"owner": "ann"}).status_code == 401, "without a token"


def test_data_representations(rest: Rest):
    """Implicit casts of a domain give it another form in JSON and in the query string."""
    assert rest.rows("/inks?shade=eq.%230000ff") == [{"name": "sky", "shade": "#0000ff"}]
    assert rest.rows("/inks?select=shade&shade=in.(%230000ff,%23ffffff)") == [{"shade": "#0000ff"}]
    row = {"name": "ash", "shade": 8421504}
    answer = rest("POST", "/inks", row, prefer=FULL)
    assert answer.json() == [{"name": "ash", "shade": "#808080"}]


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        ("", "application/json", "PGRST102"),
        ("{", "application/json", "PGRST102"),
        ('[{"title": "a"}, 1]', "application/json", "PGRST102"),
        ("a,b\n1", "text/csv", "PGRST102"),
        ("x", "image/png", "PGRST102"),
        ('{"title": "a", "titel": "b"}', "application/json", "PGRST204"),
        ('{"title": "\\u0000"}', "application/json", "22P05"),
    ],
)
def test_bodies_that_are_refused(rest: Rest, body: str, content_type: str, code: str):
    answer = rest("POST", "/books", body, content_type=content_type)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
