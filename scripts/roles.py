"""The roles of the local cluster, as on Supabase: a superuser without a password, and ``postgres``, who is none.

Everybody knows the password of ``postgres``; as a superuser it could run programs as whoever runs the server (COPY …
TO PROGRAM; before PostgreSQL 16 createrole still leads there). ``supabase_admin`` is let in through the socket in the
data folder only, which nobody else may enter.
"""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

Connection = psycopg.Connection[tuple[Any, ...]]

ADMIN = "supabase_admin"

# Read from the top, the first line that fits decides.
HBA = f"""\
local all         all                     trust
host  all         {ADMIN} 0.0.0.0/0       reject
host  all         {ADMIN} ::/0            reject
host  all         all     127.0.0.1/32    scram-sha-256
host  replication all     127.0.0.1/32    scram-sha-256
"""

ROLES = """
create role postgres login createdb createrole replication bypassrls password 'postgres';
grant pg_monitor, pg_signal_backend, pg_checkpoint to postgres;
do $$
declare
    v_role record;
begin
    for v_role in
        select wanted.*
        from (values ('anon', ''), ('authenticated', ''), ('service_role', 'bypassrls')) as wanted (name, options)
    loop
        if to_regrole(v_role.name) is null then -- before PostgreSQL 16 only a superuser makes one with bypassrls
            execute format('create role %I nologin noinherit %s', v_role.name, v_role.options);
        end if;
        execute format('grant %I to postgres with admin option', v_role.name);
    end loop;
end;
$$;
"""
# REASSIGN OWNED refuses a cluster's first superuser, who owns the catalogue as well: what people made, one by one.
OWNERS = """
do $$
declare
    v_change text;
begin
    for v_change in
        with people as (
            select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
        ),
        part as ( -- of a table (its serial's sequence, its row type) or an extension: it follows that, or stays
            select objid from pg_depend where deptype in ('a', 'i', 'e')
        )
        select format('alter schema %I owner to postgres', nspname) from people
        inner join pg_namespace using (oid, nspname) where nspowner = 10 and oid not in (select objid from part)
        union all
        select format('alter table %s owner to postgres', pg_class.oid::regclass) from pg_class
        inner join people on people.oid = relnamespace
        where relowner = 10 and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
            and pg_class.oid not in (select objid from part)
        union all
        select format('alter routine %s owner to postgres', pg_proc.oid::regprocedure) from pg_proc
        inner join people on people.oid = pronamespace
        where proowner = 10 and pg_proc.oid not in (select objid from part)
        union all
        select format('alter type %s owner to postgres', pg_type.oid::regtype) from pg_type
        inner join people on people.oid = typnamespace
        where typowner = 10 and typtype in ('e', 'd', 'r') and pg_type.oid not in (select objid from part)
    loop
        execute v_change;
    end loop;
end;
$$;
"""
HELPER = "picture_edge_renames"


def settle_roles(address: str) -> None:
    """Make the roles where they are not there yet; ``address`` is the socket's. Errors: psycopg.Error.

    In a cluster of an earlier version, whose superuser is ``postgres``, that one becomes supabase_admin, and all that
    people made belongs to the new postgres. Begun twice it is ended once.
    """
    try:
        admin = _connect(address, ADMIN)
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            raise
        _rename(address)
        admin = _connect(address, ADMIN)
    with admin:
        if not _has(admin, "postgres"):
            with admin.transaction():
                admin.execute(ROLES)
                admin.execute("alter database postgres owner to postgres")
        if _has(admin, HELPER):
            _hand_over(admin, address)
            admin.execute(f"drop role {HELPER}")


def _rename(address: str) -> None:
    """A role cannot rename itself: another superuser does, for the moment."""
    with _connect(address, "postgres") as old:
        if not _has(old, HELPER):
            old.execute(f"create role {HELPER} superuser login")
    with _connect(address, HELPER) as helper:
        helper.execute(f"alter role postgres rename to {ADMIN}")
        helper.execute(f"alter role {ADMIN} password null")


def _hand_over(admin: Connection, address: str) -> None:
    databases = admin.execute(
        "select datname from pg_database where datdba = 10 and datallowconn"
    ).fetchall()
    for (name,) in [*databases, ("postgres",)]:
        if name.startswith("template"):
            continue
        with _connect(address, ADMIN, dbname=name) as there:
            there.execute(OWNERS)
        admin.execute(sql.SQL("alter database {} owner to postgres").format(sql.Identifier(name)))


def _has(connection: Connection, role: str) -> bool:
    return connection.execute("select to_regrole(%s)", (role,)).fetchone() != (None,)


def _connect(address: str, user: str, **others: str) -> Connection:
    return psycopg.connect(make_conninfo(address, user=user, **others), autocommit=True)
