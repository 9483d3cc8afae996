"""The roles of the local cluster, as on Supabase: superuser ``supabase_admin``, ``postgres``, and ``authenticator``.

Least privilege: the password of ``postgres`` is well-known, and a superuser can run programs as the server's user
(COPY … TO PROGRAM; before PostgreSQL 16 createrole can escalate to that). ``supabase_admin`` has no password and
connects through the UNIX socket in the data folder only, whose mode is 0700.
"""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

Connection = psycopg.Connection[tuple[Any, ...]]

ADMIN = "supabase_admin"

# pg_hba.conf: the first matching line decides.
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
        from (values
            ('anon', '', '3s'), ('authenticated', '', '8s'), ('service_role', 'bypassrls', null)
        ) as wanted (name, options, statement_timeout)
    loop
        if to_regrole(v_role.name) is null then -- made here, as before PostgreSQL 16 bypassrls takes a superuser
            execute format('create role %I nologin noinherit %s', v_role.name, v_role.options);
            if v_role.statement_timeout is not null then
                execute format('alter role %I set statement_timeout = %L', v_role.name, v_role.statement_timeout);
            end if;
        end if;
        execute format('grant %I to postgres with admin option', v_role.name);
    end loop;
end;
$$;
"""
# Least privilege: a function that resets its role gets the login's, so that of /rest/v1 owns nothing.
AUTHENTICATOR = """
do $$
begin
    if to_regrole('authenticator') is null then
        create role authenticator login noinherit password 'postgres';
    end if;
end;
$$;
grant anon, authenticated, service_role to authenticator;
"""
# REASSIGN OWNED refuses the bootstrap superuser (oid 10), owner of the system catalogue: change owners one by one.
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
        left join pg_class on pg_class.oid = typrelid
        where typowner = 10 and (typtype in ('e', 'd', 'r') or relkind = 'c')
            and pg_type.oid not in (select objid from part)
    loop
        execute v_change;
    end loop;
end;
$$;
"""
HELPER = "picture_edge_renames"


def settle_roles(address: str) -> None:
    """Create the roles if absent; idempotent. ``address`` is the socket's. Raises psycopg.Error.

    Migrates a cluster of an earlier version, whose superuser is ``postgres``: that role is renamed to supabase_admin,
    and the objects of users are given to the new ``postgres``. An interrupted migration is resumed by the next call.
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
        admin.execute(AUTHENTICATOR)
        if _has(admin, HELPER):
            _hand_over(admin, address)
            admin.execute(f"drop role {HELPER}")


def _rename(address: str) -> None:
    """Rename ``postgres`` through a temporary superuser: a session cannot rename its own role."""
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
        with _connect(address, ADMIN, dbname=name) as connection:
            connection.execute(OWNERS)
        admin.execute(sql.SQL("alter database {} owner to postgres").format(sql.Identifier(name)))


def _has(connection: Connection, role: str) -> bool:
    return connection.execute("select to_regrole(%s)", (role,)).fetchone() != (None,)


def _connect(address: str, user: str, **options: str) -> Connection:
    return psycopg.connect(make_conninfo(address, user=user, **options), autocommit=True)
