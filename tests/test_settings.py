"""Settings: checked at start, named in the error, listed in .env.example, and never shown."""

from pathlib import Path

import pytest
from dotenv import dotenv_values
from jose import jwt

from functions._local.defaults import local_environment
from functions._shared.settings import Settings, SettingsError

LOCAL = local_environment({})
EXAMPLE = dotenv_values(Path(__file__).parent.parent / ".env.example")


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
        ({}, {"storage"}),
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
        ({"SERVE": "storage,graphql"}, "SERVE.*may name storage"),
        ({"LOCAL_STACK": "true"}, "SERVE=storage"),
    ],
)
def test_a_service_that_is_not_there_and_the_old_flag_stop_the_start(environ, told):
    with pytest.raises(SettingsError, match=told):
        Settings.from_env({**LOCAL, **environ})
    Settings.from_env({**LOCAL, "LOCAL_STACK": "false"})


def test_an_empty_variable_counts_as_absent():
    assert Settings.from_env({**LOCAL, "MAX_PARALLEL_JOBS": ""}).max_parallel_jobs == 3


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", "not a url"),
        ("SUPABASE_JWT_SECRET", "too short"),
        ("SUPABASE_SECRET_KEYS", "not json but secret"),
        ("WORKER_CONCURRENCY", "0"),
        ("JOB_TIMEOUT_MS", "soon"),
        ("ALLOW_ANON", "perhaps"),
        ("LOG_FORMAT", "xml"),
        ("EDGE_PORT", "0"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(name, value):
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**LOCAL, name: value})
    assert name in str(refused.value)
    if value not in {"0", "soon"}:
        assert value not in str(refused.value)
    assert refused.value.__cause__ is None


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({})
    for name in (
        "SUPABASE_URL",
        "SUPABASE_DB_URL",
        "SUPABASE_JWT_SECRET",
        "SUPABASE_SERVICE_ROLE_KEY",
    ):
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
