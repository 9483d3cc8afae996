"""Content negotiation: JSON, one object, stripped nulls, CSV, execution plans, custom media types."""

import csv
import io

import pytest

from tests.functions._platform.rest.conftest import Rest

OBJECT = "application/vnd.pgrst.object+json"
PLAN = "application/vnd.pgrst.plan"


def test_json_is_the_default(rest: Rest):
    for accept in ("*/*", "application/json", "text/html,application/json;q=0.9,*/*;q=0.1"):
        answer = rest.get("/covers?book_id=eq.1", accept=accept)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert answer.headers["vary"] == "Accept, Prefer, Range"
        assert answer.json() == [{"book_id": 1, "colour": "blue"}]


def test_one_object(rest: Rest):
    answer = rest.get("/covers?book_id=eq.1", accept=OBJECT)
    assert answer.json() == {"book_id": 1, "colour": "blue"}
    assert answer.headers["content-type"] == f"{OBJECT}; charset=utf-8"
    for path, rows in [("/covers", 2), ("/covers?book_id=eq.9", 0)]:
        answer = rest.get(path, accept=OBJECT)
        assert answer.status_code == 406
        assert answer.json() == {
            "code": "PGRST116",
            "details": f"The result contains {rows} rows",
            "hint": None,
            "message": "Cannot coerce the result to a single JSON object",
        }


def test_nulls_can_be_left_out(rest: Rest):
    path = "/authors?id=eq.3&select=id,born,country"
    array = "application/vnd.pgrst.array+json;nulls=stripped"
    answer = rest.get(path, accept=array)
    assert (answer.json(), answer.headers["content-type"]) == (
        [{"id": 3}],
        f"{array}; charset=utf-8",
    )
    assert rest.get(path, accept=f"{OBJECT};nulls=stripped").json() == {"id": 3}


def test_csv(rest: Rest):
    answer = rest.get("/books?select=id,title,tags&id=lt.3&order=id", accept="text/csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(answer.text))) == [
        ["id", "title", "tags"],
        ["1", "Emma", '{novel,"old, very"}'],
        ["2", "The Guest", "{novel}"],
    ]


def test_what_nobody_makes_is_refused(rest: Rest):
    answer = rest.get("/books", accept="image/png")
    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST107")
    assert answer.json()["message"] == "None of these media types are available: image/png"
    assert rest.get("/books", accept=PLAN).status_code == 406, "unless PGRST_DB_PLAN_ENABLED"


def test_custom_media_types(rest: Rest):
    """A function whose result is a domain named like one, and an aggregate over a relation's rows."""
    answer = rest.get("/rpc/page", accept="text/html")
    assert (answer.text, answer.headers["content-type"]) == ("<h1>Library</h1>", "text/html")
    accept = "application/vnd.library+json"
    answer = rest.get("/books?order=id", accept=accept)
    assert (answer.text, answer.headers["content-type"]) == ("|Emma|The Guest|Quiet Days", accept)
    assert rest.get("/books?select=id", accept=accept).status_code == 406, "it takes whole rows"
    assert rest.get("/authors", accept=accept).status_code == 406, "it takes books"


@pytest.mark.parametrize("form", ["text", "json"])
def test_execution_plans(rest_with, form: str):
    rest = rest_with(PGRST_DB_PLAN_ENABLED="true")
    answer = rest.get("/books?id=eq.1", accept=f"{PLAN}+{form}; options=verbose|analyze")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == (
        f'{PLAN}+{form}; for="application/json"; options=analyze|verbose; charset=utf-8'
    )
    assert "Aggregate" in answer.text
    assert "actual" in answer.text.lower()
    answer = rest("DELETE", "/placements", accept=f'{PLAN}+{form}; for="{OBJECT}"')
    assert "Delete" in answer.text, "a plan is of no row, so of no wrong number of rows"
