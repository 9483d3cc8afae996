"""Embedding: by foreign keys, junctions and functions, with hints, filters, order, windows, spreads and aggregates."""

import pytest

from tests.functions._platform.rest.conftest import Rest


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        # to one is an object, to many an array even of one row, one to one an object on both sides
        ("/authors?select=name,countries(name)&id=in.(1,3)&order=id", [
            {"name": "Ann", "countries": {"name": "Britain"}}, {"name": "Cal", "countries": None}]),
        ("/countries?select=code,authors(name)&order=code", [
            {"code": "fr", "authors": [{"name": "Bea"}]}, {"code": "gb", "authors": [{"name": "Ann"}]}]),
        ("/books?select=covers(colour)&id=gt.1&order=id", [{"covers": {"colour": "red"}}, {"covers": None}]),
        ("/covers?select=books(title)&book_id=eq.1", [{"books": {"title": "Emma"}}]),
        # many to many, and through several levels
        ("/books?select=id,shelves(name)&id=lt.3&shelves.order=id&order=id", [
            {"id": 1, "shelves": [{"name": "hall"}, {"name": "attic"}]}, {"id": 2, "shelves": [{"name": "hall"}]}]),
        ("/shelves?select=books(title,by:authors!books_author(countries(code)))&id=eq.2", [
            {"books": [{"title": "Emma", "by": {"countries": {"code": "gb"}}}]}]),
        # two foreign keys: by constraint, by column, by the target's column name as its own name
        ("/books?select=editor:authors!books_editor(name)&id=eq.1", [{"editor": {"name": "Cal"}}]),
        ("/books?select=authors!author_id(name)&id=eq.1", [{"authors": {"name": "Ann"}}]),
        ("/books?select=editor_id(name)&id=eq.1", [{"editor_id": {"name": "Cal"}}]),
        # a table with itself: its column means the parent, its name the children
        ("/shelves?select=name,parent(name),below:shelves(id)&id=lt.3&below.order=id&order=id", [
            {"name": "hall", "parent": None, "below": [{"id": 2}, {"id": 3}]},
            {"name": "attic", "parent": {"name": "hall"}, "below": []}]),
        # by a view's base tables, and by a function
        ("/titles?select=title,authors(name)&id=eq.2", [{"title": "The Guest", "authors": {"name": "Bea"}}]),
        ("/books?select=id,siblings(id)&id=gt.1&order=id", [
            {"id": 2, "siblings": [{"id": 3}]}, {"id": 3, "siblings": [{"id": 2}]}]),
        # nothing of it is shown, yet it filters
        ("/books?select=id,covers!inner()&covers.colour=eq.red", [{"id": 2}]),
        # filters, order and windows of an embed's own
        ("/authors?select=id,books!books_author(id)&id=eq.2&books.order=id.desc&books.limit=1", [
            {"id": 2, "books": [{"id": 3}]}]),
        ("/authors?select=id,its:books!books_author(id)&its.title=like.Q*&id=gt.1&order=id", [
            {"id": 2, "its": [{"id": 3}]}, {"id": 3, "its": []}]),
        ("/authors?select=id,books!books_author(id)&books.or=(id.eq.1,id.eq.3)&id=eq.2", [
            {"id": 2, "books": [{"id": 3}]}]),
        # the parents that have one, or none
        ("/authors?select=id,books!books_author!inner(id)&books.id=eq.1", [{"id": 1, "books": [{"id": 1}]}]),
        ("/authors?select=id,books!books_author()&books=is.null", [{"id": 3}]),
        ("/authors?select=id,books!books_author()&books=not.is.null&order=id", [{"id": 1}, {"id": 2}]),
        ("/authors?select=id,books!books_author(),countries()&or=(books.is.null,countries.not.is.null)&order=id", [
            {"id": 1}, {"id": 2}, {"id": 3}]),
        # order by a column of a to-one embed
        ("/books?select=id,authors!books_author()&order=authors(name).desc,id.desc", [{"id": 3}, {"id": 2}, {"id": 1}]),
        # spreads: to one a column, to many an array
        ("/books?select=title,...authors!books_author(name,...countries(country:name))&id=eq.1", [
            {"title": "Emma", "name": "Ann", "country": "Britain"}]),
        ("/authors?select=name,...books!books_author(title,id)&id=eq.2&books.order=id.desc", [
            {"name": "Bea", "title": ["Quiet Days", "The Guest"], "id": [3, 2]}]),
        ("/authors?select=name,...books!books_author(title)&id=eq.3", [{"name": "Cal", "title": []}]),
    ],
)  # fmt: skip
def test_embeds(rest: Rest, path: str, rows: list[dict]):
    assert rest.rows(path) == rows


def test_counts_see_inner_embeds(rest: Rest):
    path = "/books?select=id,covers!inner(colour)&limit=1"
    answer = rest.get(path, prefer="count=exact")
    assert answer.headers["content-range"] == "0-0/2"
    answer = rest.get("/books?select=id,covers()&covers=is.null&limit=1", prefer="count=exact")
    assert answer.headers["content-range"] == "0-0/1"


def test_a_key_of_several_meanings_is_refused_with_all_of_them(rest: Rest):
    answer = rest.get("/books?select=authors(name)")
    error = answer.json()
    assert (answer.status_code, error["code"]) == (300, "PGRST201")
    assert error["hint"] == (
        "Try changing 'authors' to one of the following: 'authors!books_author', 'authors!books_editor'."
        " Find the desired relationship in the 'details' key."
    )
    assert error["details"] == [
        {
            "cardinality": "many-to-one",
            "embedding": "books with authors",
            "relationship": f"books_{key} using books({key}_id) and authors(id)",
        }
        for key in ("author", "editor")
    ]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/authors?select=id,books!books_author(id)&order=books(title)", 400, "PGRST118"),
        ("/authors?select=id,books!nothing(id)", 400, "PGRST200"),
        ("/authors?select=id,...books!books_author(id.max())", 400, "PGRST123"),
    ],
)
def test_what_cannot_be_embedded(rest: Rest, path: str, status: int, code: str):
    answer = rest.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_alias_is_the_name_of_its_embed(rest: Rest):
    answer = rest.get("/authors?select=its:books!books_author(id)&books.id=eq.1&id=eq.1")
    assert answer.json() == [{"its": [{"id": 1}]}]
    assert "Update `books` to `its`" in answer.headers["warning"]


def test_aggregates(rest_with):
    rest = rest_with(PGRST_DB_AGGREGATES_ENABLED="true")
    assert rest.rows("/books?select=author_id,count(),id.max()&order=author_id") == [
        {"author_id": 1, "count": 1, "max": 1},
        {"author_id": 2, "count": 2, "max": 3},
    ]
    assert rest.rows("/books?select=pages:data->pages::int.sum()::text") == [{"pages": "874"}]
    # hoisted out of a to-one spread, to the level whose rows it groups
    path = "/books?select=...authors!books_author(country,id.count())&order=authors(country)"
    assert sorted(rest.rows(path), key=str) == [
        {"country": "fr", "count": 2},
        {"country": "gb", "count": 1},
    ]
    refused = rest.get("/authors?select=id,...books!books_author(id.max())")
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST127")


def test_long_names_of_several_embeds_stay_apart(rest: Rest):
    """Aliases that PostgreSQL truncates to the same 63 bytes would be ambiguous."""
    path = "/reading_room_of_the_library_in_the_house_behind_the_harbour"
    assert rest.rows(f"{path}?select=first_reader(name),other_reader(name)") == [
        {"first_reader": {"name": "Ann"}, "other_reader": {"name": "Bea"}}
    ]
