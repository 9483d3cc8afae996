"""Functions, custom media types, data representations and the settings of roles, as the schema cache sees them."""

from uuid import uuid4

import pytest

from functions._platform.rest.catalogue.model import Name, Parameter
from tests.functions._platform.rest.catalogue.help import catalogue_of


def functions_of(dsn, sql: str):
    return catalogue_of(dsn, sql).routines.get(Name("api", "f"), ())


def function(dsn, head: str, before: str = ""):
    [found] = functions_of(
        dsn, f"{before}; create function f{head} language plpgsql as 'begin end'"
    )
    return found


def parameters(dsn, head: str) -> list[tuple[str, str, bool]]:
    found = function(dsn, head).parameters
    return [(each.name, each.type, each.required) for each in found]


def test_parameters_have_names_types_and_defaults(dsn):
    found = parameters(
        dsn, "(a int, b text, c timestamptz default now(), d int[] default '{}') returns int"
    )
    assert found == [
        ("a", "integer", True),
        ("b", "text", True),
        ("c", "timestamp with time zone", False),
        ("d", "integer[]", False),
    ]


def test_out_parameters_are_no_arguments(dsn):
    head = "(out x int, a int, inout b text default 'b', out y int)"
    assert parameters(dsn, head) == [("a", "integer", True), ("b", "text", False)]
    [table, _] = functions_of(
        dsn, "create function f(b int) returns table (x int) language sql as 'select 1'"
    )
    assert [each.name for each in table.parameters] == ["b"]


def test_a_variadic_parameter_is_told(dsn):
    found = function(dsn, "(a int, variadic b text[]) returns int")
    assert (found.variadic, [each.variadic for each in found.parameters]) == (True, [False, True])


@pytest.mark.parametrize(
    ("declared", "cast_type"),
    [
        ("char", "character varying"),
        ("char[]", "character varying[]"),
        ("bit", "bit varying"),
        ("bit[]", "bit varying[]"),
        ("varchar", "character varying"),
        ("int", "integer"),
    ],
)
def test_a_cast_to_a_parameters_type_cuts_nothing(dsn, declared, cast_type):
    [parameter] = function(dsn, f"(a {declared}) returns int").parameters
    assert parameter.cast_type == cast_type


@pytest.mark.parametrize("declared", ["json", "jsonb", "text", "xml", "bytea"])
def test_a_single_parameter_without_a_name_may_take_the_body(dsn, declared):
    assert function(dsn, f"({declared}) returns int").parameters == (
        Parameter("", declared, True, False, declared),
    )


@pytest.mark.parametrize("head", ["(int)", "(json, json)"])
def test_other_nameless_parameters_cannot_be_given(dsn, head):
    assert (
        functions_of(dsn, f"create function f{head} returns int language sql as 'select 1'") == ()
    )


@pytest.mark.parametrize(
    ("result", "returns", "is_set", "is_composite", "is_alias"),
    [
        ("int", ("pg_catalog", "int4"), False, False, False),
        ("setof text", ("pg_catalog", "text"), True, False, False),
        ("t", ("api", "t"), False, True, False),
        ("setof t", ("api", "t"), True, True, False),
        ("pair", ("api", "pair"), False, True, False),
        ("pair_domain", ("api", "pair"), False, True, True),
        ("small", ("pg_catalog", "int4"), False, False, False),
        ("table (a int, b int)", ("pg_catalog", "record"), True, True, False),
        ("record", ("pg_catalog", "record"), False, False, False),
    ],
)
def test_results(dsn, result, returns, is_set, is_composite, is_alias):
    before = """
        create table t (a int); create type pair as (a int, b int); create domain pair_domain as pair;
        create domain small as int
    """
    found = function(dsn, f"() returns {result}", before)
    assert found.returns == returns
    kinds = (found.returns_set, found.returns_composite, found.is_alias, found.returns_void)
    assert kinds == (is_set, is_composite, is_alias, False)


@pytest.mark.parametrize("head", ["(out a int)", "(a int, inout b int)"])
def test_out_parameters_make_a_composite(dsn, head):
    assert function(dsn, head).returns_composite


def test_void_is_told(dsn):
    assert function(dsn, "() returns void").returns_void


def test_triggers_procedures_and_aggregates_cannot_be_called(dsn):
    sql = """
        create function f() returns trigger language plpgsql as 'begin end';
        create procedure f(a int) language sql as '';
        create aggregate f(bigint) (sfunc = int8pl, stype = bigint)
    """
    assert functions_of(dsn, sql) == ()


def test_overloads_come_with_the_fewest_parameters_first(dsn):
    sql = """
        create function f(a int, b int) returns int language sql as 'select 1';
        create function f() returns int language sql as 'select 1';
        create function f(a text) returns int language sql as 'select 1';
        create function f(a int) returns int language sql as 'select 1'
    """
    found = functions_of(dsn, sql)
    types = [[each.type for each in overload.parameters] for overload in found]
    assert types == [[], ["integer"], ["text"], ["integer", "integer"]]


@pytest.mark.parametrize("volatility", ["volatile", "stable", "immutable"])
def test_volatility(dsn, volatility):
    assert function(dsn, f"() returns int {volatility}").volatility == volatility


def test_settings_that_must_hold_before_the_call(dsn):
    head = """() returns int set statement_timeout = '2s' set work_mem = '8MB'
        set default_transaction_isolation = 'SERIALIZABLE'"""
    found = function(dsn, head)
    assert (found.settings, found.isolation) == ((("statement_timeout", "2s"),), "serializable")
    bare = function(dsn, "(a int) returns int", "drop function f()")
    assert (bare.settings, bare.isolation) == ((), None)


def test_a_functions_comment(dsn):
    sql = (
        "create function f() returns int language sql as 'select 1'; comment on function f is 'F.'"
    )
    [found] = functions_of(dsn, sql)
    assert found.description == "F."


MEDIA = """
create domain "text/Tab-Separated" as text; create domain "*/*" as bytea; create domain plain as text;
create table t (a int);
create function put(state text, r t) returns "text/Tab-Separated" language sql as 'select $1';
create aggregate tab(t) (sfunc = put, stype = "text/Tab-Separated");
create function put_any(state "*/*", r anyelement) returns "*/*" language sql as 'select $1';
create aggregate everything(anyelement) (sfunc = put_any, stype = "*/*");
create function picture() returns "*/*" language sql as 'select null::bytea';
create function pictures() returns setof "*/*" language sql as 'select null::bytea';
create function words() returns plain language sql as 'select null::text';
"""


def test_media_types_of_aggregates_and_functions(dsn):
    found = {each.function.name: each for each in catalogue_of(dsn, MEDIA).handlers}
    tab, everything, picture = found["tab"], found["everything"], found["picture"]
    assert (tab.media_type, tab.relation, tab.is_aggregate) == (
        "text/tab-separated",
        ("api", "t"),
        True,
    )
    assert tab.content_type == "text/tab-separated"
    assert (everything.media_type, everything.relation) == ("*/*", None)
    assert (picture.relation, picture.is_aggregate) == (("api", "picture"), False)
    assert picture.content_type == "application/octet-stream"
    assert not {"pictures", "words"} & set(found)


def test_data_representations_are_implicit_casts_of_domains(dsn):
    sql = """
        create domain color as int; create domain other as int;
        create function to_json_(color) returns json language sql as 'select to_json(1)';
        create function from_text(text) returns color language sql as 'select 1';
        create function explicit(other) returns json language sql as 'select to_json(1)';
        set client_min_messages = error;
        create cast (color as json) with function to_json_(color) as implicit;
        create cast (text as color) with function from_text(text) as implicit;
        create cast (other as json) with function explicit(other)
    """
    assert catalogue_of(dsn, sql).casts == {
        ("api.color", "json"): ("api", "to_json_"),
        ("text", "api.color"): ("api", "from_text"),
    }


@pytest.fixture
def roles(admin):
    """Two roles of the cluster: a login, and what it may become."""
    login, becomes = f"login_{uuid4().hex}", f"becomes_{uuid4().hex}"
    admin.execute(f"create role {login} login password 'secret' noinherit; create role {becomes}")
    admin.execute(
        f"create role other_{login}; alter role other_{login} set statement_timeout = '9s'"
    )
    admin.execute(f"grant {becomes} to {login}")
    yield login, becomes
    admin.execute(f"drop role {login}, {becomes}, other_{login}")


def test_settings_of_the_roles_that_the_login_may_become(dsn, admin, roles):
    login, becomes = roles
    admin.execute(f"alter role {becomes} set statement_timeout = '3s'")
    admin.execute(f"alter role {becomes} set search_path = a, b")
    admin.execute(f"alter role {becomes} set log_duration = on")  # a superuser's
    admin.execute(f"alter role {becomes} set default_transaction_isolation = 'repeatable read'")
    catalogue = catalogue_of(dsn, "", user=login, password="secret")
    assert catalogue.role_settings == {becomes: {"statement_timeout": "3s", "search_path": "a, b"}}
    assert catalogue.role_isolation == {becomes: "repeatable read"}


def test_settings_granted_to_the_login(dsn, admin, roles):
    login, becomes = roles
    admin.execute(f"alter role {becomes} set log_duration = on")
    with_grant = f"grant set on parameter log_duration to {login}"
    admin.execute(with_grant)
    try:
        catalogue = catalogue_of(dsn, "", user=login, password="secret")
    finally:
        admin.execute(f"revoke set on parameter log_duration from {login}")
    assert catalogue.role_settings == {becomes: {"log_duration": "on"}}


def test_a_login_without_rights_reads_everything(dsn, roles):
    """Who may do what is the database's decision at each request."""
    login, _ = roles
    sql = """
        create table a (id int generated by default as identity primary key); create table b (a_id int references a);
        create view v as select * from a; create function f() returns int language sql as 'select 1'
    """
    own = catalogue_of(dsn, sql)
    others = catalogue_of(dsn, "", user=login, password="secret")
    assert (others.tables, others.relationships) == (own.tables, own.relationships)
    assert others.routines == own.routines
