"""The schema auth: GoTrue's shapes, rights, the upgrade of the earlier stand-in, and a Supabase's own left alone."""

import psycopg
import pytest

from scripts.schema import apply_schema
from tests.sql.help import OTHER, USER
from tests.sql.originals import database_of

STAND_IN = """
create schema auth;
comment on schema auth is 'Stand-in for Supabase Auth''s schema: the identity of the caller, for policies.';
create table auth.users (
    id uuid primary key default gen_random_uuid(),
    email text unique,
    created_at timestamptz not null default now()
);
create function auth.jwt() returns jsonb language sql stable set search_path = ''
as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
create function auth.uid() returns uuid language sql stable set search_path = ''
as $$ select (auth.jwt() ->> 'sub')::uuid $$;
create function auth.role() returns text language sql stable set search_path = ''
as $$ select auth.jwt() ->> 'role' $$;
"""
TABLES = (
    "flow_state",
    "identities",
    "mfa_amr_claims",
    "one_time_tokens",
    "refresh_tokens",
    "sessions",
    "users",
)
CATALOGUE = """
select array_agg(line order by line) as lines from (
    select concat_ws(
        ' ', table_name, column_name, udt_name, character_maximum_length, is_nullable, column_default,
        generation_expression
    ) as line
    from information_schema.columns where table_schema = 'auth'
    union all
    select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'auth'::regnamespace
    union all select indexdef from pg_indexes where schemaname = 'auth'
    union all select proname || prosrc from pg_proc where pronamespace = 'auth'::regnamespace
) as everything
"""


def columns(db, table: str) -> str:
    """Names and types, in the order of the names; ! for NOT NULL."""
    rows = db.execute(
        "select column_name || ' ' || udt_name || coalesce(character_maximum_length::text, '')"
        " || case when is_nullable = 'NO' then '!' else '' end as it from information_schema.columns"
        " where table_schema = 'auth' and table_name = %s order by column_name",
        (table,),
    )
    return ", ".join(row["it"] for row in rows)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "flow_state",
            "auth_code text, auth_code_issued_at timestamptz, authentication_method text!, code_challenge "
            "text, code_challenge_method code_challenge_method, created_at timestamptz, email_optional "
            "bool!, id uuid!, invite_token text, linking_target_id uuid, oauth_client_state_id uuid, "
            "provider_access_token text, provider_refresh_token text, provider_type text!, referrer text, "
            "updated_at timestamptz, user_id uuid",
        ),
        (
            "identities",
            "created_at timestamptz, email text, id uuid!, identity_data jsonb!, last_sign_in_at "
            "timestamptz, provider text!, provider_id text!, updated_at timestamptz, user_id uuid!",
        ),
        (
            "mfa_amr_claims",
            "authentication_method text!, created_at timestamptz!, id uuid!, session_id uuid!, updated_at "
            "timestamptz!",
        ),
        (
            "one_time_tokens",
            "created_at timestamp!, id uuid!, relates_to text!, token_hash text!, token_type "
            "one_time_token_type!, updated_at timestamp!, user_id uuid!",
        ),
        (
            "refresh_tokens",
            "created_at timestamptz, id int8!, instance_id uuid, parent varchar255, revoked bool, session_id"
            " uuid, token varchar255, updated_at timestamptz, user_id varchar255",
        ),
        (
            "sessions",
            "aal aal_level, created_at timestamptz, factor_id uuid, id uuid!, ip inet, not_after "
            "timestamptz, oauth_client_id uuid, refresh_token_counter int8, refresh_token_hmac_key text, "
            "refreshed_at timestamp, scopes text, tag text, updated_at timestamptz, user_agent text, user_id"
            " uuid!",
        ),
        (
            "users",
            "aud varchar255, banned_until timestamptz, confirmation_sent_at timestamptz, confirmation_token "
            "varchar255, confirmed_at timestamptz, created_at timestamptz, deleted_at timestamptz, email "
            "varchar255, email_change varchar255, email_change_confirm_status int2, email_change_sent_at "
            "timestamptz, email_change_token_current varchar255, email_change_token_new varchar255, "
            "email_confirmed_at timestamptz, encrypted_password varchar255, id uuid!, instance_id uuid, "
            "invited_at timestamptz, is_anonymous bool!, is_sso_user bool!, is_super_admin bool, "
            "last_sign_in_at timestamptz, phone text, phone_change text, phone_change_sent_at timestamptz, "
            "phone_change_token varchar255, phone_confirmed_at timestamptz, raw_app_meta_data jsonb, "
            "raw_user_meta_data jsonb, reauthentication_sent_at timestamptz, reauthentication_token "
            "varchar255, recovery_sent_at timestamptz, recovery_token varchar255, role varchar255, "
            "updated_at timestamptz",
        ),
    ],
    ids=TABLES,
)
def test_the_columns_are_those_of_gotrue(db, table, expected):
    assert columns(db, table) == expected


def test_what_is_unique_is_what_is_unique_in_gotrue(db):
    rows = db.execute(
        "select indexname as it from pg_indexes where schemaname = 'auth' and indexdef like 'CREATE UNIQUE%' order by 1"
    )
    assert [row["it"] for row in rows] == [
        "amr_id_pk",
        "confirmation_token_idx",
        "email_change_token_current_idx",
        "email_change_token_new_idx",
        "flow_state_pkey",
        "identities_pkey",
        "identities_provider_id_provider_unique",
        "mfa_amr_claims_session_id_authentication_method_pkey",
        "one_time_tokens_pkey",
        "one_time_tokens_user_id_token_type_key",
        "reauthentication_token_idx",
        "recovery_token_idx",
        "refresh_tokens_pkey",
        "refresh_tokens_token_unique",
        "sessions_pkey",
        "users_email_partial_key",
        "users_phone_key",
        "users_pkey",
    ]


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_no_client_reads_or_writes_them(db, role):
    db.execute(f"set role {role}")
    for table in TABLES:
        for statement in ("select from auth.{}", "delete from auth.{}", "truncate auth.{}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement.format(table))


def test_row_level_security_is_on_as_on_supabase(db):
    rows = db.execute(
        "select relname as it from pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r'"
        " and relrowsecurity order by 1"
    )
    assert [row["it"] for row in rows] == [*TABLES]


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_who_asks_is_told_from_the_claims(db, role):
    db.execute(f"set role {role}")
    ask = "select auth.uid()::text, auth.role(), auth.email(), auth.jwt()"
    assert [*db.execute(ask).fetchone().values()] == [None] * 4
    claims = f'{{"sub": "{USER}", "role": "authenticated", "email": "a@b.test"}}'
    db.execute("select set_config('request.jwt.claims', %s, false)", (claims,))
    assert [*db.execute(ask).fetchone().values()][:3] == [USER, "authenticated", "a@b.test"]
    for name, value in (("sub", OTHER), ("role", "anon"), ("email", "c@d.test")):
        db.execute("select set_config(%s, %s, false)", (f"request.jwt.claim.{name}", value))
    assert [*db.execute(ask).fetchone().values()][:3] == [OTHER, "anon", "c@d.test"]


def test_the_earlier_stand_in_becomes_the_same_and_keeps_its_rows(db, dsn):
    rows = (
        f"insert into auth.users (id, email, created_at) values ('{USER}', 'Ada@Example.test', '2026-01-02 03:04:05Z');"
        f"insert into auth.users (id) values ('{OTHER}');"
    )
    with database_of(dsn, STAND_IN, rows) as (url, old):
        for _ in range(2):
            apply_schema(url)
        assert old.execute(CATALOGUE).fetchone() == db.execute(CATALOGUE).fetchone()
        kept = old.execute(
            "select id::text, email, aud, role, email_confirmed_at = created_at as confirmed,"
            " extract(epoch from created_at)::int as created from auth.users order by id"
        ).fetchall()
        assert [tuple(row.values())[:5] for row in kept] == [
            (USER, "ada@example.test", "authenticated", "authenticated", True),
            (OTHER, None, "authenticated", "authenticated", None),
        ]
        assert kept[0]["created"] == 1767323045
        linked = old.execute("select provider_id, provider, email from auth.identities").fetchall()
        assert [tuple(row.values()) for row in linked] == [(USER, "email", "ada@example.test")]


def test_the_schema_of_a_real_supabase_is_left_alone(dsn):
    supabase = """
create schema auth;
create table auth.users (id uuid primary key, email text unique);
create function auth.uid() returns uuid language sql as 'select null::uuid';
create function auth.role() returns text language sql as 'select null::text';
create function auth.jwt() returns jsonb language sql as 'select null::jsonb';
grant usage on schema auth to anon, authenticated, service_role;
"""
    with database_of(dsn, supabase) as (url, project):
        before = project.execute(CATALOGUE).fetchone()
        apply_schema(url)
        assert project.execute(CATALOGUE).fetchone() == before
