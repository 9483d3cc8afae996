"""OPERATOR_KEYS: who may operate, how a bad value is named without being shown, how a key is looked up."""

import pytest

from functions._local.defaults import local_environment
from functions._shared.operate_settings import Operator, operator_of
from functions._shared.settings import Settings, SettingsError

ADA, BOB = "ada-0123456789abcdef", "bob=0123456789abcdef"


def settings(keys: str) -> Settings:
    return Settings.from_env(local_environment({"OPERATOR_KEYS": keys}))


def test_operators_are_told_by_their_secrets():
    chosen = settings(f"ada={ADA}, bob:read={BOB},")
    assert operator_of(chosen, ADA) == Operator("ada", may_write=True)
    assert operator_of(chosen, BOB) == Operator("bob", may_write=False)
    for wrong in ("", "ada", ADA[:-1], f"{ADA} ", "ada:read", "\ud800"):
        assert operator_of(chosen, wrong) is None
    assert operator_of(settings(""), "") is None
    assert ADA not in repr(chosen)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("ada", "must be name=secret or name:read=secret, with commas between"),
        (f"ada:write={ADA}", "must be name=secret or name:read=secret, with commas between"),
        (f"a b={ADA}", "must be name=secret or name:read=secret, with commas between"),
        ("ada=short", "must give ada a secret of 16 characters or more"),
        (f"ada={ADA},ada:read={BOB}", "must name ada once"),
        (f"ada={ADA},bob={ADA}", "must give each operator a secret of their own"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(keys: str, told: str):
    with pytest.raises(SettingsError) as refused:
        settings(keys)
    assert f"OPERATOR_KEYS {told}" in str(refused.value)
    assert ADA not in str(refused.value)
    assert "short" not in str(refused.value)
