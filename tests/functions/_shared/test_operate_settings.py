"""OPERATOR_KEYS: who may operate, told by a secret; invalid ones stop the start and are never shown."""

import pytest

from functions._local.defaults import local_environment
from functions._shared.operate_settings import Operator, operator_of
from functions._shared.settings import Settings, SettingsError

KIM, AUDIT = "0123456789abcdef", "fedcba9876543210"


def settings(keys: str) -> Settings:
    return Settings.from_env({**local_environment({}), "OPERATOR_KEYS": keys})


def test_a_key_names_its_operator_and_what_they_may():
    own = settings(f"kim={KIM}, audit:read={AUDIT}")
    assert operator_of(own, KIM) == Operator("kim", may_write=True)
    assert operator_of(own, AUDIT) == Operator("audit", may_write=False)
    for other in ("", "kim", KIM[:-1], KIM + "x", "é" * 16, "\ud800"):
        assert operator_of(own, other) is None


def test_without_keys_nobody_operates():
    assert operator_of(settings(""), "") is None


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("kim=short", "kim a secret of 16 characters"),
        (KIM, "name=secret"),
        (f"kim:write={KIM}", "name=secret"),
        (f"kim={KIM},kim={AUDIT}", "kim once"),
        (f"kim={KIM},ada={KIM}", "a secret of their own"),
    ],
)
def test_an_invalid_one_is_named_and_not_shown(keys, text):
    with pytest.raises(SettingsError, match=text) as raised:
        settings(keys)
    assert KIM not in str(raised.value)
    assert "short" not in str(raised.value)


def test_secrets_are_not_in_a_repr():
    assert KIM not in repr(settings(f"kim={KIM}"))
