-- Sessions, refresh tokens, one-time tokens and PKCE flows of /auth/v1, in GoTrue's own shapes, where there is no
-- Supabase.
-- Used by     /auth/v1 as the owner. Clients read no table in here
-- Promises    as 04_auth.sql: a real Supabase's schema is untouched

do $do$
begin
    if exists (select 1 from pg_catalog.pg_namespace where nspname = 'auth')
        and coalesce(obj_description(to_regnamespace('auth'), 'pg_namespace'), '') not like 'Stand-in for %' then
        return;
    end if;

    -- Types, made once: there is no "if not exists" for them.
    if to_regtype('auth.aal_level') is null then
        create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
        create type auth.code_challenge_method as enum ('s256', 'plain');
        create type auth.one_time_token_type as enum (
            'confirmation_token', 'reauthentication_token', 'recovery_token', 'email_change_token_new',
            'email_change_token_current', 'phone_change_token'
        );
    end if;

    create table if not exists auth.sessions (
        id uuid not null,
        user_id uuid not null,
        created_at timestamptz,
        updated_at timestamptz,
        factor_id uuid,
        aal auth.aal_level,
        not_after timestamptz,
        refreshed_at timestamp,
        user_agent text,
        ip inet,
        tag text,
        oauth_client_id uuid,
        refresh_token_hmac_key text,
        refresh_token_counter bigint,
        scopes text,
        constraint sessions_pkey primary key (id),
        constraint sessions_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
        constraint sessions_scopes_length check (char_length(scopes) <= 4096)
    );

    create table if not exists auth.refresh_tokens (
        instance_id uuid,
        id bigserial not null,
        token varchar(255),
        user_id varchar(255),
        revoked boolean,
        created_at timestamptz,
        updated_at timestamptz,
        parent varchar(255),
        session_id uuid,
        constraint refresh_tokens_pkey primary key (id),
        constraint refresh_tokens_token_unique unique (token),
        constraint refresh_tokens_session_id_fkey foreign key (session_id) references auth.sessions (id) on delete cascade
    );

    create table if not exists auth.mfa_amr_claims (
        session_id uuid not null,
        created_at timestamptz not null,
        updated_at timestamptz not null,
        authentication_method text not null,
        id uuid not null,
        constraint amr_id_pk primary key (id),
        constraint mfa_amr_claims_session_id_authentication_method_pkey unique (session_id, authentication_method),
        constraint mfa_amr_claims_session_id_fkey foreign key (session_id) references auth.sessions (id) on delete cascade
    );

    create table if not exists auth.one_time_tokens (
        id uuid not null,
        user_id uuid not null,
        token_type auth.one_time_token_type not null,
        token_hash text not null,
        relates_to text not null,
        created_at timestamp not null default now(),
        updated_at timestamp not null default now(),
        constraint one_time_tokens_pkey primary key (id),
        constraint one_time_tokens_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
        constraint one_time_tokens_token_hash_check check (char_length(token_hash) > 0)
    );

    create table if not exists auth.flow_state (
        id uuid not null,
        user_id uuid,
        auth_code text,
        code_challenge_method auth.code_challenge_method,
        code_challenge text,
        provider_type text not null,
        provider_access_token text,
        provider_refresh_token text,
        created_at timestamptz,
        updated_at timestamptz,
        authentication_method text not null,
        auth_code_issued_at timestamptz,
        invite_token text,
        referrer text,
        oauth_client_state_id uuid,
        linking_target_id uuid,
        email_optional boolean not null default false,
        constraint flow_state_pkey primary key (id)
    );

    create index if not exists sessions_user_id_idx on auth.sessions (user_id);
    create index if not exists user_id_created_at_idx on auth.sessions (user_id, created_at);
    create index if not exists sessions_not_after_idx on auth.sessions (not_after desc);
    create index if not exists sessions_oauth_client_id_idx on auth.sessions (oauth_client_id);
    create index if not exists refresh_tokens_instance_id_idx on auth.refresh_tokens (instance_id);
    create index if not exists refresh_tokens_instance_id_user_id_idx on auth.refresh_tokens (instance_id, user_id);
    create index if not exists refresh_tokens_parent_idx on auth.refresh_tokens (parent);
    create index if not exists refresh_tokens_session_id_revoked_idx on auth.refresh_tokens (session_id, revoked);
    create index if not exists refresh_tokens_updated_at_idx on auth.refresh_tokens (updated_at desc);
    create unique index if not exists one_time_tokens_user_id_token_type_key
    on auth.one_time_tokens (user_id, token_type);
    create index if not exists one_time_tokens_token_hash_hash_idx on auth.one_time_tokens using hash (token_hash);
    create index if not exists one_time_tokens_relates_to_hash_idx on auth.one_time_tokens using hash (relates_to);
    create index if not exists idx_auth_code on auth.flow_state (auth_code);
    create index if not exists idx_user_id_auth_method on auth.flow_state (user_id, authentication_method);
    create index if not exists flow_state_created_at_idx on auth.flow_state (created_at desc);

    alter table auth.sessions enable row level security;
    alter table auth.refresh_tokens enable row level security;
    alter table auth.mfa_amr_claims enable row level security;
    alter table auth.one_time_tokens enable row level security;
    alter table auth.flow_state enable row level security;
    revoke all on auth.sessions, auth.refresh_tokens, auth.mfa_amr_claims, auth.one_time_tokens, auth.flow_state
    from public, anon, authenticated, service_role;
    revoke all on sequence auth.refresh_tokens_id_seq from public, anon, authenticated, service_role;

    comment on table auth.sessions is
    'Sessions of signed-in users, in GoTrue''s shape. Deleting a row signs the session out.';
    comment on column auth.sessions.id is 'The session''s id, the claim session_id of its tokens.';
    comment on column auth.sessions.user_id is 'Whose session it is.';
    comment on column auth.sessions.created_at is 'When it was started.';
    comment on column auth.sessions.updated_at is 'Latest change of the row.';
    comment on column auth.sessions.factor_id is 'GoTrue''s own: the second factor.';
    comment on column auth.sessions.aal is 'Authenticator assurance level: aal1 without a second factor.';
    comment on column auth.sessions.not_after is 'When the session ends, whatever its tokens say; null: never.';
    comment on column auth.sessions.refreshed_at is 'Latest refresh, in UTC.';
    comment on column auth.sessions.user_agent is 'User-Agent of the latest sign-in or refresh.';
    comment on column auth.sessions.ip is 'Client address of the latest sign-in or refresh.';
    comment on column auth.sessions.tag is 'GoTrue''s own.';
    comment on column auth.sessions.oauth_client_id is 'GoTrue''s own.';
    comment on column auth.sessions.refresh_token_hmac_key is 'GoTrue''s own: for refresh tokens of its second kind.';
    comment on column auth.sessions.refresh_token_counter is 'GoTrue''s own: for refresh tokens of its second kind.';
    comment on column auth.sessions.scopes is 'GoTrue''s own.';

    comment on table auth.refresh_tokens is
    'Refresh tokens of the sessions, in GoTrue''s shape: one is active in each session.';
    comment on column auth.refresh_tokens.instance_id is 'GoTrue''s own: all zeros.';
    comment on column auth.refresh_tokens.id is 'Order of the tokens.';
    comment on column auth.refresh_tokens.token is 'The token itself, 60 random bits.';
    comment on column auth.refresh_tokens.user_id is 'The user''s id as text.';
    comment on column auth.refresh_tokens.revoked is 'Whether it has been exchanged for the next one.';
    comment on column auth.refresh_tokens.created_at is 'When it was made.';
    comment on column auth.refresh_tokens.updated_at is 'When it was exchanged: it is accepted for 10 s more.';
    comment on column auth.refresh_tokens.parent is 'The token that it was exchanged for; empty for the first.';
    comment on column auth.refresh_tokens.session_id is 'Its session, with which it is deleted.';

    comment on table auth.mfa_amr_claims is
    'How a session''s user has authenticated: the claim amr, in GoTrue''s shape.';
    comment on column auth.mfa_amr_claims.session_id is 'The session.';
    comment on column auth.mfa_amr_claims.created_at is 'The first time.';
    comment on column auth.mfa_amr_claims.updated_at is 'The latest time.';
    comment on column auth.mfa_amr_claims.authentication_method is 'password, otp, recovery, anonymous and the like.';
    comment on column auth.mfa_amr_claims.id is 'The row''s id.';

    comment on table auth.one_time_tokens is
    'One-time tokens that were mailed, as hashes, in GoTrue''s shape.';
    comment on column auth.one_time_tokens.id is 'The row''s id.';
    comment on column auth.one_time_tokens.user_id is 'The user.';
    comment on column auth.one_time_tokens.token_type is 'What it is for; a user has one of each at most.';
    comment on column auth.one_time_tokens.token_hash is 'Hash of the token.';
    comment on column auth.one_time_tokens.relates_to is 'The address that it was mailed to.';
    comment on column auth.one_time_tokens.created_at is 'When it was made, in UTC.';
    comment on column auth.one_time_tokens.updated_at is 'Latest change of the row, in UTC.';

    comment on table auth.flow_state is
    'Sign-ins by PKCE that are under way, in GoTrue''s shape.';
    comment on column auth.flow_state.id is 'The row''s id.';
    comment on column auth.flow_state.user_id is 'The user.';
    comment on column auth.flow_state.auth_code is 'The code that the client exchanges for a session.';
    comment on column auth.flow_state.code_challenge_method is 'How the challenge follows from the verifier.';
    comment on column auth.flow_state.code_challenge is 'The client''s challenge.';
    comment on column auth.flow_state.provider_type is 'email, or another provider.';
    comment on column auth.flow_state.provider_access_token is 'GoTrue''s own.';
    comment on column auth.flow_state.provider_refresh_token is 'GoTrue''s own.';
    comment on column auth.flow_state.created_at is 'When the flow began.';
    comment on column auth.flow_state.updated_at is 'Latest change of the row.';
    comment on column auth.flow_state.authentication_method is
    'What the flow is for: email/signup, recovery, magiclink and the like.';
    comment on column auth.flow_state.auth_code_issued_at is 'When the code was given out.';
    comment on column auth.flow_state.invite_token is 'GoTrue''s own.';
    comment on column auth.flow_state.referrer is 'GoTrue''s own.';
    comment on column auth.flow_state.oauth_client_state_id is 'GoTrue''s own.';
    comment on column auth.flow_state.linking_target_id is 'GoTrue''s own.';
    comment on column auth.flow_state.email_optional is 'GoTrue''s own.';
end;
$do$;
