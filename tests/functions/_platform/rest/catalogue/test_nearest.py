"""Hints for wrong names. The examples with films, test and their like are the ones of upstream's own documentation."""

import pytest

from functions._platform.rest.catalogue.model import (
    Catalogue,
    Computed,
    ForeignKey,
    Name,
    Parameter,
    Routine,
    Table,
)
from functions._platform.rest.catalogue.nearest import (
    LARGEST_SCHEMA,
    function_hint,
    nearest,
    relationship_hint,
    table_hint,
)


def a_catalogue(tables=(), relationships=None, routines=None) -> Catalogue:
    return Catalogue(
        version=180000,
        tables={name: Table(name, {}) for name in tables},
        relationships=relationships or {},
        routines=routines or {},
        casts={},
        handlers=(),
        role_settings={},
        role_isolation={},
    )


def with_functions(**overloads: list[list[str]]) -> Catalogue:
    routines = {
        Name("api", name): tuple(
            Routine(
                oid=0,
                name=Name("api", name),
                parameters=tuple(Parameter(each, "text", True) for each in parameters),
                returns=Name("pg_catalog", "text"),
                returns_set=False,
                returns_composite=False,
                returns_void=False,
            )
            for parameters in signatures
        )
        for name, signatures in overloads.items()
    }
    return a_catalogue(routines=routines)


FILMS = a_catalogue(
    relationships={
        Name("api", "films"): (
            *(
                ForeignKey(Name("api", "films"), Name("api", each), "O2M", "fk")
                for each in ("directors", "roles", "actors")
            ),
            Computed(
                Name("api", "f"), Name("api", "films"), Name("other", "reviews"), to_one=False
            ),
        ),
        Name("api", "filmz"): (),  # related through a hidden junction
        Name("private", "filmed"): (
            ForeignKey(Name("private", "filmed"), Name("private", "x"), "O2M", "fk"),
        ),
    }
)


@pytest.mark.parametrize(
    ("parent", "child", "hint"),
    [
        ("film", "directors", "Perhaps you meant 'films' instead of 'film'."),
        ("filmed", "directors", "Perhaps you meant 'films' instead of 'filmed'."),
        ("films", "role", "Perhaps you meant 'roles' instead of 'role'."),
        ("films", "actors", None),
        ("films", "ACTORS", None),
        ("films", "reviewz", None),  # reviews is in another schema
        ("noclosealternative", "roles", None),
        ("films", "noclosealternative", None),
        ("filmz", "directors", None),
    ],
)
def test_a_relationship_that_is_not_there(parent, child, hint):
    assert relationship_hint(FILMS, "api", parent, child) == hint


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        ("testt", "Perhaps you meant to call the function api.test"),
        ("Another_", "Perhaps you meant to call the function api.another"),
        ("another_one", None),  # below the score for names
        ("noclosealternative", None),
    ],
)
def test_a_function_that_is_not_there(function, hint):
    catalogue = with_functions(test=[[]], another=[[]])
    assert function_hint(catalogue, "api", function, ["val"]) == hint
    assert function_hint(catalogue, "other", function, ["val"]) is None


@pytest.mark.parametrize(
    ("arguments", "signature"),
    [
        (["vall", "pqaram", "nam"], "(name, param, val)"),
        (["val", "param"], "(name, param, val)"),
        (["id", "attrs"], "(attr, id)"),
        (["id"], "(attr, id)"),
        (["noclosealternative"], None),
    ],
)
def test_arguments_that_no_overload_has(arguments, signature):
    catalogue = with_functions(test=[["val", "param", "name"], ["id", "attr"]])
    hint = signature and f"Perhaps you meant to call the function api.test{signature}"
    assert function_hint(catalogue, "api", "test", arguments) == hint


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("projectx", "projects"),
        ("projecxx", "projects"),
        ("PROJECT", "projects"),
        ("xxxjects", None),
    ],
)
def test_a_table_that_is_not_there(table, found):
    catalogue = a_catalogue(
        [Name("api", "projects"), Name("api", "clients"), Name("other", "projectx")]
    )
    hint = found and f"Perhaps you meant the table 'api.{found}'"
    assert table_hint(catalogue, "api", table) == hint


def test_a_large_schema_is_not_searched():
    names = [Name("api", f"table_{number}") for number in range(LARGEST_SCHEMA - 1)]
    assert table_hint(a_catalogue(names), "api", "table_") is not None
    assert table_hint(a_catalogue([*names, Name("api", "one")]), "api", "table_") is None


def test_the_smaller_distance_wins_over_the_larger_similarity():
    """ababab has more of abab's n-grams, and is further away."""
    assert nearest("abab", ["ababab", "abac"], 0.33) == "abac"


def test_short_names_are_compared_by_pairs_of_letters():
    assert nearest("ab", ["bb"], 0.33) == "bb"  # ab and bb share only "b-"
    assert nearest("ab", ["cd"], 0.33) is None


def test_a_text_of_any_length_is_answered_at_once(monkeypatch):
    """A quadratic distance to a text of a megabyte would take minutes: nothing is compared."""
    monkeypatch.setattr("functions._platform.rest.catalogue.nearest._grams", None)
    assert nearest("a" * 1_000_000, ["a" * 63], 0.33) is None


def test_signs_do_not_count_as_letters_of_an_n_gram():
    assert nearest("xa_by", ["zabq"], 0.33) == "zabq"
