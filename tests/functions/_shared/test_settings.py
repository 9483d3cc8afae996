"""Settings: checked at start, named in the error, listed in .env.example, and never shown."""

import json
from pathlib import Path
from typing import get_origin

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from dotenv import dotenv_values
from jose import jwk, jwt

from functions._local.defaults import local_environment
from functions._shared.settings import Settings, SettingsError

LOCAL = local_environment({})
EXAMPLE = dotenv_values(Path(__file__).parents[3] / ".env.example")


def names() -> set[str]:
    return {name.upper() for name in Settings.model_fields}


def test_the_example_lists_every_setting_and_no_other():
    assert set(EXAMPLE) == names()


def test_the_examples_values_are_the_defaults():
    required = {
        name: LOCAL[name] for name, value in EXAMPLE.items() if value == "" and name in LOCAL
    }
    given = {name: value for name, value in EXAMPLE.items() if value}
    assert Settings.from_env({**required, **given}) == Settings.from_env(required)


def test_a_copy_of_the_example_leaves_the_local_stack_as_it_is():
    example = {name: value or "" for name, value in EXAMPLE.items()}
    assert Settings.from_env(local_environment(example)) == Settings.from_env(LOCAL)


def test_a_secret_of_ones_own_gets_keys_of_its_own():
    secret = "a-secret-of-my-own-of-at-least-32-characters"
    own = local_environment({"SUPABASE_JWT_SECRET": secret})
    assert jwt.decode(own["SUPABASE_ANON_KEY"], secret, algorithms=["HS256"])["role"] == "anon"
    assert not Settings.from_env(own).uses_local_keys
    assert not Settings.from_env(own).supabase_secret_keys, (
        "the public keys would open it to everybody"
    )
    assert Settings.from_env(LOCAL).uses_local_keys


def test_the_anon_key_is_a_demo_user_with_the_public_keys_only():
    own = {"SUPABASE_JWT_SECRET": "a-secret-of-my-own-of-at-least-32-characters"}
    assert Settings.from_env(LOCAL).allow_anon
    assert not Settings.from_env(local_environment(own)).allow_anon
    assert Settings.from_env(local_environment({**own, "ALLOW_ANON": "true"})).allow_anon


@pytest.mark.parametrize(
    ("environ", "served"),
    [
        ({}, {"auth", "example", "realtime", "rest", "storage"}),
        ({"SERVE": " storage, "}, {"storage"}),
        ({"SUPABASE_UPSTREAM_URL": "https://x.supabase.co"}, set()),
        ({"SUPABASE_UPSTREAM_URL": "https://x.supabase.co", "SERVE": "storage"}, {"storage"}),
    ],
)
def test_the_local_stack_serves_what_no_supabase_behind_it_does(environ, served):
    assert Settings.from_env(local_environment(environ)).serve == served


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"SERVE": "storage,graphql"}, "SERVE may name auth, example, realtime, rest, storage"),
        ({"LOCAL_STACK": "true"}, "SERVE=storage"),
        (
            {"SERVE": "example", "SUPABASE_ANON_KEY": "", "SUPABASE_PUBLISHABLE_KEYS": ""},
            "SERVE names example, whose page needs",
        ),
    ],
)
def test_a_service_that_is_not_there_and_the_old_flag_stop_the_start(environ, told):
    with pytest.raises(SettingsError, match=told):
        Settings.from_env({**LOCAL, **environ})
    Settings.from_env({**LOCAL, "LOCAL_STACK": "false"})


def test_an_empty_variable_counts_as_absent():
    assert Settings.from_env({**LOCAL, "MAX_PARALLEL_JOBS": ""}).max_parallel_jobs == 3


def test_an_empty_variable_means_none_where_postgrest_reads_it_so():
    absent, empty = (
        Settings.from_env({**LOCAL, **environ})
        for environ in (
            {},
            {
                "PGRST_DB_MAX_ROWS": "",
                "PGRST_DB_ANON_ROLE": "",
                "PGRST_DB_EXTRA_SEARCH_PATH": "",
            },
        )
    )
    assert (absent.pgrst_db_max_rows, absent.pgrst_db_anon_role) == (1000, "anon")
    assert absent.pgrst_db_extra_search_path == ("public", "extensions")
    assert (empty.pgrst_db_max_rows, empty.pgrst_db_anon_role) == (None, None)
    assert empty.pgrst_db_extra_search_path == ()


def test_schemas_are_divided_by_commas_and_may_have_any_name():
    names = Settings.from_env({**LOCAL, "PGRST_DB_SCHEMAS": 'v1, SPECIAL "@/\\#~_- ,تست'})
    assert names.pgrst_db_schemas == ("v1", 'SPECIAL "@/\\#~_-', "تست")


def test_replicate_api_key_is_another_name():
    environ = {name: value for name, value in LOCAL.items() if name != "REPLICATE_API_TOKEN"}
    token = Settings.from_env({**environ, "REPLICATE_API_KEY": "r8_other"}).replicate_api_token
    assert token is not None
    assert token.get_secret_value() == "r8_other"


def test_links_have_the_public_base():
    assert Settings.from_env(LOCAL).public_base == "http://127.0.0.1:54321"
    assert (
        Settings.from_env({**LOCAL, "PUBLIC_URL": "https://x.example/"}).public_base
        == "https://x.example"
    )


OWN = "own-secret-own-secret-own-secret-own-secret"


def claims_of(role: str) -> str:
    return jwt.encode({"role": role}, OWN, algorithm="HS256")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SUPABASE_URL", "not a url", "must be an address such as https://project.example.com"),
        ("SUPABASE_URL", "ftp://secret.example", "must be an address that begins with https:// or http://"),
        ("SUPABASE_DB_URL", "not a secret url", "must be such as postgresql://user:password@host:5432/database"),
        ("SUPABASE_DB_DIRECT_URL", "secret@host", "must be such as postgresql://user:password@host:5432/database"),
        ("SUPABASE_JWT_SECRET", "too short", "must have 32 characters or more"),
        ("SUPABASE_JWT_SECRET", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ secret", "must be a secret, not a public key"),
        ("SUPABASE_SECRET_KEYS", "not json but secret", "must be JSON"),
        ("SUPABASE_SECRET_KEYS", '["sb_secret_0123456789"]', "must be a JSON object"),
        ("SUPABASE_SECRET_KEYS", '{"a": ["sb_secret_0123456789"]}', "must be a JSON object of texts"),
        ("SUPABASE_SECRET_KEYS", '{"a": "sb_publishable_0123"}', "must hold keys of the role service_role only"),
        ("SUPABASE_PUBLISHABLE_KEYS", '{"a": "sb_secret_0123"}', "must hold keys of the role anon only"),
        ("SUPABASE_SERVICE_ROLE_KEY", "sb_publishable_0123", "must be the key of the role service_role"),
        ("SUPABASE_SERVICE_ROLE_KEY", claims_of("anon"), "must be the key of the role service_role"),
        ("SUPABASE_SERVICE_ROLE_KEY", claims_of("authenticated"), "must be the key of the role service_role"),
        ("SUPABASE_ANON_KEY", claims_of("service_role"), "must be the key of the role anon"),
        ("SUPABASE_JWKS", '{"keys": 7}', 'must be such as {"keys": ['),
        ("JWT_ROLES", "admin service_role", "must not name service_role, which is no role of users"),
        ("JWT_ROLES", "Postgres", "must not name Postgres"),
        ("JWT_ROLES", "supabase_admin", "must not name supabase_admin"),
        ("JWT_ROLES", "pg_execute_server_program", "must not name pg_execute_server_program"),
        ("FUNCTIONS_HOST", "https://functions.example", "must be a host name alone, such as functions.example.com"),
        ("WORKER_CONCURRENCY", "0", "must be more than 0"),
        ("AUTH_FAILURES_PER_MINUTE", "-1", "must be 0 or more"),
        ("JOB_TIMEOUT_MS", "soon", "must be a whole number"),
        ("JOB_TIMEOUT_MS", "1.5", "must be a whole number"),
        ("SANDBOX_SECONDS", "soon", "must be a number"),
        ("SANDBOX_SECONDS", "inf", "must be a number"),
        ("ALLOW_ANON", "perhaps", "must be true or false"),
        ("LOG_FORMAT", "xml", "must be console or json"),
        ("EDGE_PORT", "0", "must be 1 or more"),
        ("EDGE_PORT", "70000", "must be 65535 or less"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_in_a_sentence_and_not_shown(name, value, words):
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**LOCAL, name: value})
    said = str(refused.value)
    assert said.startswith(f"{name} {words}")
    assert "Value error" not in said
    assert "Input" not in said
    if len(value) > 5 and not name.startswith("JWT_"):
        assert value not in said
    assert refused.value.__cause__ is None


# What files, secret stores and shells leave around a value

EC_KEY = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256").to_dict()
GIVEN = {
    **LOCAL,
    "SUPABASE_DB_DIRECT_URL": LOCAL["SUPABASE_DB_URL"],
    "SUPABASE_JWKS": '{"keys": []}',
    "SUPABASE_JWKS_URL": "https://auth.example/jwks.json",
    "SUPABASE_UPSTREAM_URL": "https://project.example",
    "PUBLIC_URL": "https://edge.example",
    "FUNCTIONS_HOST": "functions.example",
    "NO_VERIFY_JWT": "process-jobs",
    "JWT_ROLES": "admin",
    "METRICS_PORT": "9464",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "POSTGRES_BIN": "/usr/lib/postgresql/bin",
    "EDGE_SOCKET": "/run/edge.sock",
    "OPERATOR_KEYS": "ada=0123456789abcdef,bob:read=fedcba9876543210",
    "QUOTA_RUNNING": "1",
    "QUOTA_HOURLY": "1",
    "QUOTA_DAILY": "1",
    "SUPABASE_SIGNING_KEYS": json.dumps([{**EC_KEY, "kid": "one"}]),
    "SMTP_HOST": "smtp.example",
    "SMTP_USER": "mailer",
    "SMTP_PASS": "mail-password",
    "SMTP_ADMIN_EMAIL": "admin@example.test",
    "SMTP_SENDER_NAME": "Example",
    "ADDITIONAL_REDIRECT_URLS": "https://app.example/**",
    "PGRST_DB_PRE_REQUEST": "private.check",
    "STORAGE_OBJECT_STORE_URL": "s3://bucket/prefix",
    "PGRST_DB_URI": "postgresql://authenticator@127.0.0.1/postgres",
    "PGRST_OPENAPI_SERVER_PROXY_URI": "https://edge.example/rest/v1",
    **{name: value for name, value in EXAMPLE.items() if value},
}
ALL = sorted(set(GIVEN) & set(EXAMPLE))
KINDS = {name: get_origin(Settings.model_fields[name.lower()].annotation) for name in ALL}
UNSEEN = ["\n", "\r", "\0", "\x1b", "\x7f", "\u200b", "\u2028", "\udcff"]


def test_the_tables_below_are_of_all_settings():
    assert set(ALL) == set(EXAMPLE)


@pytest.mark.parametrize("name", ALL)
def test_blanks_around_a_value_are_taken_off(name):
    expected = Settings.from_env(GIVEN)
    for around in ("{}\n", "{}\r\n", " {}", "\t{} ", "\u00a0{}"):
        assert Settings.from_env({**GIVEN, name: around.format(GIVEN[name])}) == expected


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("quoted", ['"{}"', "'{}'", "“{}”", "`{}`"])
def test_quotes_around_a_value_are_refused(name, quoted):
    said = refusal(**{**GIVEN, name: quoted.format(GIVEN[name])})
    assert said.startswith(f"{name} must not have quotes around it")
    assert len(GIVEN[name]) < 6 or GIVEN[name] not in said


@pytest.mark.parametrize(
    ("name", "unseen"),
    [
        (name, unseen)
        for name in ALL
        for unseen in [*UNSEEN, "\ufeff"]
        if unseen not in "\n\r" or KINDS[name] not in {dict, frozenset, tuple}
    ],
    ids=ascii,
)
def test_what_nobody_sees_is_refused_inside(name, unseen):
    value = GIVEN[name]
    text = f"{unseen}{value}" if unseen == "\ufeff" else f"{value[0]}{unseen}{value[1:] or '1'}"
    said = refusal(**{**GIVEN, name: text})
    assert said.startswith(
        f"{name} must not have a line break or another invisible character in it"
    )
    assert len(value) < 6 or value not in said


def test_lists_and_json_may_have_lines():
    settings = Settings.from_env(
        {
            **LOCAL,
            "SUPABASE_SECRET_KEYS": '{\n  "default": "sb_secret_x"\n}\n',
            "OUTPUT_HOSTS": "a.example,\nb.example\n",
            "CORS_ORIGINS": "https://a.example\nhttps://b.example",
        }
    )
    assert settings.supabase_secret_keys
    assert settings.output_hosts == {"a.example", "b.example"}
    assert settings.cors_origins == {"https://a.example", "https://b.example"}


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(environ)
    return str(refused.value)


@pytest.mark.parametrize(
    "key", ["sb_secret_a b", "sb_secret_…", "sb_secret_\u00a0x", "sb_secret_a\nb"]
)
@pytest.mark.parametrize(
    "name", ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEYS", "REPLICATE_API_TOKEN", "REPLICATE_API_KEY"]
)  # fmt: skip
def test_what_travels_in_a_header_has_nothing_that_headers_do_not_take(name, key):
    value = json.dumps({"default": key}) if name.endswith("S") else key
    environ = {known: value for known, value in LOCAL.items() if known != "REPLICATE_API_TOKEN"}
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**environ, name: value})
    assert " must " in str(refused.value)
    assert key not in str(refused.value)


def test_a_key_within_json_is_tidied_too():
    settings = Settings.from_env({**LOCAL, "SUPABASE_SECRET_KEYS": '{"a": " sb_secret_x\\n"}'})
    assert settings.supabase_secret_keys["a"].get_secret_value() == "sb_secret_x"


def test_the_local_stacks_own_addresses_are_made_of_tidied_ports():
    values = local_environment({"EDGE_PORT": " 6000\n", "SUPABASE_JWT_SECRET": f"{OWN}\n"})
    settings = Settings.from_env(values)
    assert str(settings.supabase_url) == "http://127.0.0.1:6000/"
    key = settings.supabase_service_role_key.get_secret_value()
    assert jwt.decode(key, OWN, algorithms=["HS256"])["role"] == "service_role"


# What tokens are verified with


def test_the_secret_may_be_absent_where_there_are_signing_keys():
    """A Supabase project publishes them below its own address; this process does not."""
    project = {
        "SUPABASE_URL": "https://project.supabase.co",
        "SUPABASE_DB_URL": LOCAL["SUPABASE_DB_URL"],
        "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_0123456789",
    }
    assert Settings.from_env(project).supabase_jwt_secret is None
    alone = {**project, "SERVE": "storage"}
    for keys in (
        {},
        {"SUPABASE_JWKS": '{"keys": []}'},
        {"SUPABASE_JWKS": '{"keys": [{"kty": "oct"}]}'},
    ):
        with pytest.raises(
            SettingsError, match="SUPABASE_JWT_SECRET is not set, nor are signing keys"
        ):
            Settings.from_env({**alone, **keys})
    for keys in (
        {"SUPABASE_JWKS_URL": "https://a.example/jwks"},
        {"SUPABASE_JWKS": '{"keys": [{"kty": "EC"}]}'},
    ):
        assert Settings.from_env({**alone, **keys}).supabase_jwt_secret is None


def test_a_key_of_two_roles_is_refused():
    key = "an-opaque-key-of-some-other-gateway-0123456789"
    with pytest.raises(
        SettingsError, match="SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEYS"
    ) as refused:
        Settings.from_env({**LOCAL, "SUPABASE_SERVICE_ROLE_KEY": key, "SUPABASE_ANON_KEY": key})
    assert key not in str(refused.value)


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({})
    for name in ("SUPABASE_URL", "SUPABASE_DB_URL", "SUPABASE_SERVICE_ROLE_KEY"):
        assert f"{name} is not set" in str(refused.value)


def test_secrets_print_as_stars():
    settings = Settings.from_env({**LOCAL, "REPLICATE_API_TOKEN": "r8_very_secret"})
    for name in (
        "REPLICATE_API_TOKEN",
        "SUPABASE_JWT_SECRET",
        "SUPABASE_SERVICE_ROLE_KEY",
        "SUPABASE_DB_URL",
    ):
        assert {**LOCAL, "REPLICATE_API_TOKEN": "r8_very_secret"}[name] not in repr(settings)


@pytest.mark.parametrize(
    ("public_url", "api_url", "base"),
    [
        (None, "https://api.replicate.com/v1", None),
        ("https://edge.example.com/", "https://api.replicate.com/v1", "https://edge.example.com"),
        ("http://edge.example.com", "https://api.replicate.com/v1", None),
        ("http://127.0.0.1:54321", "http://127.0.0.1:54330/v1", "http://127.0.0.1:54321"),
    ],
)
def test_the_provider_calls_back_over_https_or_on_one_machine(public_url, api_url, base):
    values = local_environment({"REPLICATE_API_URL": api_url, "REPLICATE_API_TOKEN": "t"})
    settings = Settings.from_env({**values, **({"PUBLIC_URL": public_url} if public_url else {})})
    assert settings.callback_base == base
