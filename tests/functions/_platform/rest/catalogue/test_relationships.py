"""Relationships between the tables and views of a schema named api, by foreign keys and by functions."""

import pytest

from functions._platform.rest.catalogue.model import Name
from tests.functions._platform.rest.catalogue.help import catalogue_of, of, shown

CLIENTS = """
create table clients (id int primary key);
create table projects (id int primary key, client_id int constraint fk references clients);
"""
FILMS = """
create table films (id int primary key); create table actors (id int primary key);
"""


def all_shown(catalogue, table: str) -> list[str]:
    return [shown(relationship) for relationship in of(catalogue, table)]


def test_a_foreign_key_relates_both_ways(dsn):
    catalogue = catalogue_of(dsn, CLIENTS)
    assert all_shown(catalogue, "projects") == ["M2O clients by fk (client_id=id)"]
    assert all_shown(catalogue, "clients") == ["O2M projects by fk (id=client_id)"]


@pytest.mark.parametrize("unique", ["unique", "primary key"])
def test_one_to_one_where_the_referring_columns_are_unique(dsn, unique):
    sql = f"create table a (id int primary key); create table b (a_id int {unique} constraint fk references a)"
    catalogue = catalogue_of(dsn, sql)
    assert all_shown(catalogue, "b") == ["O2O a by fk (a_id=id)"]
    assert all_shown(catalogue, "a") == ["O2O b by fk (id=a_id)"]
    [child], [parent] = of(catalogue, "b"), of(catalogue, "a")
    assert (child.is_parent, parent.is_parent) == (False, True)


def test_a_unique_constraint_over_more_columns_is_not_one_to_one(dsn):
    sql = f"{CLIENTS} alter table projects add unique (client_id, id)"
    assert all_shown(catalogue_of(dsn, sql), "projects") == ["M2O clients by fk (client_id=id)"]


def test_the_pairs_of_several_columns_keep_the_constraints_order(dsn):
    sql = """
        create table a (x int, y int, primary key (x, y));
        create table b (x2 int, y2 int, unique (x2, y2), constraint fk foreign key (y2, x2) references a (y, x))
    """
    assert all_shown(catalogue_of(dsn, sql), "b") == ["O2O a by fk (y2=y, x2=x)"]


def test_a_table_relates_to_itself(dsn):
    sql = "create table t (id int primary key, up int constraint fk references t)"
    found = of(catalogue_of(dsn, sql), "t")
    assert [shown(each) for each in found] == ["O2M t by fk (id=up)", "M2O t by fk (up=id)"]
    assert all(each.is_self for each in found)


def test_partitions_are_no_relations_of_their_own(dsn):
    sql = """
        create table a (id int, primary key (id)) partition by list (id);
        create table a1 partition of a for values in (1);
        create table b (a_id int constraint fk references a) partition by list (a_id);
        create table b1 partition of b for values in (1)
    """
    catalogue = catalogue_of(dsn, sql)
    assert all_shown(catalogue, "b") == ["M2O a by fk (a_id=id)"]
    assert all_shown(catalogue, "a") == ["O2M b by fk (id=a_id)"]
    assert of(catalogue, "a1") == of(catalogue, "b1") == ()


def test_many_to_many_through_a_table_whose_key_has_both(dsn):
    sql = f"""{FILMS}
        create table roles (
            film_id int constraint film references films, actor_id int constraint actor references actors,
            primary key (actor_id, film_id)
        )
    """
    [many, _] = of(catalogue_of(dsn, sql), "films")
    assert shown(many) == "M2M actors by film and actor through roles"
    junction = many.junction
    assert (junction.source_constraint, junction.target_constraint) == ("film", "actor")
    assert (junction.source, junction.target) == ((("id", "film_id"),), (("id", "actor_id"),))


def test_not_many_to_many_where_the_key_lacks_one(dsn):
    sql = f"""{FILMS}
        create table roles (
            film_id int references films, actor_id int references actors, n int, primary key (film_id, n)
        )
    """
    assert [line[:3] for line in all_shown(catalogue_of(dsn, sql), "actors")] == ["O2M"]


def test_a_junction_of_one_table_with_itself_relates_it_both_ways(dsn):
    sql = """
        create table users (id int primary key);
        create table follows (
            who int constraint who references users, whom int constraint whom references users,
            primary key (who, whom)
        )
    """
    found = all_shown(catalogue_of(dsn, sql), "users")
    assert "M2M users by who and whom through follows" in found
    assert "M2M users by whom and who through follows" in found
    assert len(found) == 4  # and both as O2M


def test_views_relate_as_their_tables_do(dsn):
    sql = f"""{CLIENTS}
        create view customers as select id as key from clients;
        create view works as select client_id as customer, id from projects
    """
    catalogue = catalogue_of(dsn, sql)
    assert all_shown(catalogue, "works") == [
        "M2O clients by fk (customer=id)",
        "M2O customers by fk (customer=key)",
    ]
    assert all_shown(catalogue, "customers") == [
        "O2M projects by fk (key=client_id)",
        "O2M works by fk (key=customer)",
    ]
    [table, view] = of(catalogue, "works")
    assert (table.table_is_view, table.foreign_is_view) == (True, False)
    assert (view.table_is_view, view.foreign_is_view) == (True, True)
    [inverse, _] = of(catalogue, "customers")
    assert (inverse.table_is_view, inverse.foreign_is_view) == (True, False)


def test_views_relate_through_tables_of_hidden_schemas(dsn):
    sql = """
        create schema private;
        create table private.a (id int primary key);
        create table private.b (a_id int constraint fk references private.a);
        create view a as select * from private.a; create view b as select * from private.b
    """
    catalogue = catalogue_of(dsn, sql)
    assert all_shown(catalogue, "b") == ["M2O a by fk (a_id=id)"]
    assert {name.schema for name in catalogue.relationships} == {"api"}


def test_a_view_that_lacks_a_column_of_the_key_is_not_related(dsn):
    sql = """
        create table a (x int, y int, primary key (x, y));
        create table b (x int, y int, constraint fk foreign key (x, y) references a);
        create view v as select x from b
    """
    assert all_shown(catalogue_of(dsn, sql), "v") == []


def test_a_column_that_a_view_shows_twice_relates_twice(dsn):
    sql = f"{CLIENTS} create view v as select client_id as one, client_id as two from projects"
    assert all_shown(catalogue_of(dsn, sql), "v") == [
        "M2O clients by fk (one=id)",
        "M2O clients by fk (two=id)",
    ]


def test_many_to_many_through_a_view(dsn):
    sql = f"""{FILMS}
        create schema private;
        create table private.roles (
            film int constraint film references films, actor int constraint actor references actors,
            primary key (actor, film)
        );
        create view roles as select * from private.roles
    """
    [line] = [each for each in all_shown(catalogue_of(dsn, sql), "films") if "M2M" in each]
    assert line == "M2M actors by film and actor through roles"


def test_a_junction_of_a_hidden_schema_relates_nothing(dsn):
    sql = f"""{FILMS}
        create schema private;
        create table private.roles (
            film int references films, actor int references actors, primary key (actor, film)
        )
    """
    catalogue = catalogue_of(dsn, sql)
    assert all_shown(catalogue, "films") == []
    assert set(catalogue.relationships) == {Name("api", "films"), Name("api", "actors")}


def test_a_table_of_a_hidden_schema_with_one_foreign_key_is_no_junction(dsn):
    sql = f"{FILMS} create schema private; create table private.t (film int primary key references films, n int)"
    assert catalogue_of(dsn, sql).relationships == {}


def test_relationships_between_exposed_schemas(dsn):
    sql = f"{CLIENTS} create schema other; create table other.t (c int constraint fk references clients)"
    catalogue = catalogue_of(dsn, sql, schemas=("api", "other"))
    [relationship] = catalogue.relationships[Name("other", "t")]
    assert relationship.foreign_table == ("api", "clients")


def test_functions_relate_too(dsn):
    sql = f"""{CLIENTS}
        create function recent(clients) returns setof projects language sql as 'select * from projects';
        create function newest(clients) returns setof projects rows 1 language sql as 'select * from projects';
        create function latest(clients) returns projects language sql as 'select * from projects limit 1';
        create function counted(clients) returns int language sql as 'select 1';
        create function other(int) returns setof projects language sql as 'select * from projects'
    """
    assert all_shown(catalogue_of(dsn, sql), "clients") == [
        "O2M projects by fk (id=client_id)",
        "to one projects by latest",
        "to one projects by newest",
        "to many projects by recent",
    ]


def test_a_function_named_like_the_foreign_table_takes_its_place(dsn):
    sql = f"""{CLIENTS}
        create function projects(clients) returns setof projects language sql as 'select * from projects'
    """
    catalogue = catalogue_of(dsn, sql)
    assert all_shown(catalogue, "clients") == ["to many projects by projects"]
    assert all_shown(catalogue, "projects") == ["M2O clients by fk (client_id=id)"]


def test_the_order_is_that_of_upstreams_errors(dsn):
    """By foreign table, then to many before to one, then constraint."""
    sql = """
        create table b (id int primary key); create table a (id int primary key);
        create table t (
            id int primary key, b2 int constraint k2 references b, b1 int constraint k1 references b,
            a int constraint k0 references a
        );
        alter table b add t int constraint k3 references t
    """
    assert all_shown(catalogue_of(dsn, sql), "t") == [
        "M2O a by k0 (a=id)",
        "O2M b by k3 (id=t)",
        "M2O b by k1 (b1=id)",
        "M2O b by k2 (b2=id)",
    ]
