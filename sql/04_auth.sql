-- The schema auth where there is no Supabase: users and identities in GoTrue's own shapes, and the functions that tell
-- policies who asks. 06_auth_sessions.sql has the rest.
-- Used by     /auth/v1 as the owner; policies call auth.uid(), role(), email(), jwt(). Clients read no table in here
-- Promises    a real Supabase's schema is untouched: ours is known by its comment. Columns, types, defaults and
--             uniqueness are GoTrue's: moving in or out is a copy of rows. An earlier stand-in, whose auth.users
--             had an id, an address and a time, is upgraded in place

do $do$
begin
    if exists (select 1 from pg_catalog.pg_namespace where nspname = 'auth')
        and coalesce(obj_description(to_regnamespace('auth'), 'pg_namespace'), '') not like 'Stand-in for %' then
        return;
    end if;

    create schema if not exists auth;
    comment on schema auth is 'Stand-in for Supabase Auth''s schema: users and sessions, and the identity of the caller.';
    grant usage on schema auth to anon, authenticated, service_role;

    create or replace function auth.jwt() returns jsonb language sql stable set search_path = ''
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), '')
        )::jsonb
    $$;
    comment on function auth.jwt() is 'The claims of the request''s token, or null.';

    create or replace function auth.uid() returns uuid language sql stable set search_path = ''
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.sub', true), ''), auth.jwt() ->> 'sub'
        )::uuid
    $$;
    comment on function auth.uid() is 'The signed-in user''s id, or null.';

    create or replace function auth.role() returns text language sql stable set search_path = ''
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.role', true), ''), auth.jwt() ->> 'role'
        )
    $$;
    comment on function auth.role() is 'The role the request''s token claims, or null.';

    create or replace function auth.email() returns text language sql stable set search_path = ''
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.email', true), ''), auth.jwt() ->> 'email'
        )
    $$;
    comment on function auth.email() is 'The signed-in user''s address as its token claims it, or null.';

    create table if not exists auth.users (id uuid not null, constraint users_pkey primary key (id));
    alter table auth.users
        add column if not exists instance_id uuid,
        add column if not exists aud varchar(255),
        add column if not exists role varchar(255),
        add column if not exists email varchar(255),
        add column if not exists encrypted_password varchar(255),
        add column if not exists email_confirmed_at timestamptz,
        add column if not exists invited_at timestamptz,
        add column if not exists confirmation_token varchar(255),
        add column if not exists confirmation_sent_at timestamptz,
        add column if not exists recovery_token varchar(255),
        add column if not exists recovery_sent_at timestamptz,
        add column if not exists email_change_token_new varchar(255),
        add column if not exists email_change varchar(255),
        add column if not exists email_change_sent_at timestamptz,
        add column if not exists last_sign_in_at timestamptz,
        add column if not exists raw_app_meta_data jsonb,
        add column if not exists raw_user_meta_data jsonb,
        add column if not exists is_super_admin boolean,
        add column if not exists created_at timestamptz,
        add column if not exists updated_at timestamptz,
        add column if not exists phone text default null,
        add column if not exists phone_confirmed_at timestamptz,
        add column if not exists phone_change text default '',
        add column if not exists phone_change_token varchar(255) default '',
        add column if not exists phone_change_sent_at timestamptz,
        add column if not exists confirmed_at timestamptz
            generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
        add column if not exists email_change_token_current varchar(255) default '',
        add column if not exists email_change_confirm_status smallint default 0,
        add column if not exists banned_until timestamptz,
        add column if not exists reauthentication_token varchar(255) default '',
        add column if not exists reauthentication_sent_at timestamptz,
        add column if not exists is_sso_user boolean not null default false,
        add column if not exists deleted_at timestamptz,
        add column if not exists is_anonymous boolean not null default false;

    create table if not exists auth.identities (
        provider_id text not null,
        user_id uuid not null,
        identity_data jsonb not null,
        provider text not null,
        last_sign_in_at timestamptz,
        created_at timestamptz,
        updated_at timestamptz,
        email text generated always as (lower(identity_data ->> 'email')) stored,
        id uuid not null default gen_random_uuid(),
        constraint identities_pkey primary key (id),
        constraint identities_provider_id_provider_unique unique (provider_id, provider),
        constraint identities_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
    );

    -- The earlier stand-in: its unique key tells. Its addresses are taken as confirmed, so that nobody gets the user by
    -- signing up with one of them; a recovery mail gives the user a password.
    if exists (
        select 1 from pg_catalog.pg_constraint where conrelid = 'auth.users'::regclass and conname = 'users_email_key'
    ) then
        alter table auth.users drop constraint users_email_key;
        alter table auth.users
            alter column id drop default,
            alter column email type varchar(255),
            alter column created_at drop default,
            alter column created_at drop not null;
        update auth.users
        set instance_id = '00000000-0000-0000-0000-000000000000', aud = 'authenticated', role = 'authenticated',
            email = lower(email), email_confirmed_at = case when email is not null then created_at end,
            confirmation_token = '', recovery_token = '', email_change_token_new = '', email_change = '',
            raw_app_meta_data = '{"provider": "email", "providers": ["email"]}', raw_user_meta_data = '{}',
            updated_at = created_at;
        insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
        select
            id::text, id, jsonb_build_object('sub', id, 'email', email, 'email_verified', false, 'phone_verified', false),
            'email', created_at, created_at
        from auth.users where email is not null;
    end if;

    if not exists (
        select 1 from pg_catalog.pg_constraint where conrelid = 'auth.users'::regclass and conname = 'users_phone_key'
    ) then
        alter table auth.users
            add constraint users_phone_key unique (phone),
            add constraint users_email_change_confirm_status_check
            check (email_change_confirm_status >= 0 and email_change_confirm_status <= 2);
    end if;

    create index if not exists users_instance_id_email_idx on auth.users (instance_id, lower(email));
    create index if not exists users_instance_id_idx on auth.users (instance_id);
    create index if not exists users_is_anonymous_idx on auth.users (is_anonymous);
    create unique index if not exists users_email_partial_key on auth.users (email) where (is_sso_user = false);
    create unique index if not exists confirmation_token_idx on auth.users (confirmation_token)
    where confirmation_token !~ '^[0-9 ]*$';
    create unique index if not exists recovery_token_idx on auth.users (recovery_token)
    where recovery_token !~ '^[0-9 ]*$';
    create unique index if not exists email_change_token_current_idx on auth.users (email_change_token_current)
    where email_change_token_current !~ '^[0-9 ]*$';
    create unique index if not exists email_change_token_new_idx on auth.users (email_change_token_new)
    where email_change_token_new !~ '^[0-9 ]*$';
    create unique index if not exists reauthentication_token_idx on auth.users (reauthentication_token)
    where reauthentication_token !~ '^[0-9 ]*$';
    create index if not exists identities_user_id_idx on auth.identities (user_id);
    create index if not exists identities_email_idx on auth.identities (email text_pattern_ops);

    -- As on Supabase: row-level security without a policy. The owner, who serves /auth/v1, is not subject to it.
    alter table auth.users enable row level security;
    alter table auth.identities enable row level security;
    -- Default privileges of the database may have granted rights.
    revoke all on auth.users, auth.identities from public, anon, authenticated, service_role;

    comment on table auth.users is
    'Users, in GoTrue''s shape. No foreign key of ours refers to this table: a valid token is enough.';
    comment on column auth.users.instance_id is 'GoTrue''s own: all zeros.';
    comment on column auth.users.id is 'The user''s id, the claim sub of its tokens.';
    comment on column auth.users.aud is 'Audience of its tokens: authenticated.';
    comment on column auth.users.role is
    'Database role that its tokens claim: authenticated, or one that an operator has chosen.';
    comment on column auth.users.email is 'Address in lower case; null for anonymous users.';
    comment on column auth.users.encrypted_password is
    'Hash of the password: bcrypt, or an imported one (Argon2, Firebase''s scrypt). Null or empty: none.';
    comment on column auth.users.email_confirmed_at is 'When the address was confirmed; null before.';
    comment on column auth.users.invited_at is 'When the user was invited by mail.';
    comment on column auth.users.confirmation_token is 'Hash of the token in the confirmation mail; empty for none.';
    comment on column auth.users.confirmation_sent_at is 'When that mail was sent.';
    comment on column auth.users.recovery_token is 'Hash of the token in the recovery mail; empty for none.';
    comment on column auth.users.recovery_sent_at is 'When that mail was sent.';
    comment on column auth.users.email_change_token_new is
    'Hash of the token mailed to the new address; empty for none.';
    comment on column auth.users.email_change is 'The new address, until it is confirmed; else empty.';
    comment on column auth.users.email_change_sent_at is 'When the mails of the address change were sent.';
    comment on column auth.users.last_sign_in_at is 'Latest sign-in or refresh of a session.';
    comment on column auth.users.raw_app_meta_data is
    'Metadata that only the service role may write: provider, providers, and an app''s own.';
    comment on column auth.users.raw_user_meta_data is 'Metadata that the user may write. Never trust it for rights.';
    comment on column auth.users.is_super_admin is 'GoTrue''s own, unused.';
    comment on column auth.users.created_at is 'When the user signed up or was created.';
    comment on column auth.users.updated_at is 'Latest change of the row.';
    comment on column auth.users.phone is 'Phone number; not served here.';
    comment on column auth.users.phone_confirmed_at is 'When the phone number was confirmed.';
    comment on column auth.users.phone_change is 'GoTrue''s own: a new phone number.';
    comment on column auth.users.phone_change_token is 'GoTrue''s own.';
    comment on column auth.users.phone_change_sent_at is 'GoTrue''s own.';
    comment on column auth.users.confirmed_at is 'The earlier of the two confirmations.';
    comment on column auth.users.email_change_token_current is
    'Hash of the token mailed to the present address; empty for none.';
    comment on column auth.users.email_change_confirm_status is
    'Confirmations of the address change that have come: 0, 1 or 2.';
    comment on column auth.users.banned_until is
    'Until when sign-in, refresh and all use of a token at /auth/v1 are refused.';
    comment on column auth.users.reauthentication_token is 'Hash of the mailed nonce; empty for none.';
    comment on column auth.users.reauthentication_sent_at is 'When that nonce was sent.';
    comment on column auth.users.is_sso_user is
    'Whether the account comes from single sign-on: such accounts may share addresses.';
    comment on column auth.users.deleted_at is
    'When the user was soft-deleted: address and password are gone, the id stays.';
    comment on column auth.users.is_anonymous is 'Whether the user has signed up without any credential.';

    comment on table auth.identities is
    'A user''s identities, one for each provider, in GoTrue''s shape.';
    comment on column auth.identities.provider_id is
    'The user''s id at the provider; for the provider email the user''s own id.';
    comment on column auth.identities.user_id is 'Whose identity it is.';
    comment on column auth.identities.identity_data is 'The provider''s claims about the user.';
    comment on column auth.identities.provider is 'email, or another provider.';
    comment on column auth.identities.last_sign_in_at is 'Latest sign-in by this identity.';
    comment on column auth.identities.created_at is 'When the identity was linked.';
    comment on column auth.identities.updated_at is 'Latest change of the row.';
    comment on column auth.identities.email is 'The address in identity_data, in lower case.';
    comment on column auth.identities.id is 'The identity''s id.';
end;
$do$;
