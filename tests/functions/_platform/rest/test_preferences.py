"""The Prefer header: what is understood, what is refused by handling=strict, what was applied."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions._platform.rest.preferences import Preferences


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Preferences()),
        ([""], Preferences()),
        (["count=exact"], Preferences(count="exact")),
        (
            ["return=representation,  resolution=merge-duplicates ,missing=default"],
            Preferences("merge-duplicates", "representation", missing="default"),
        ),
        (["tx=rollback", "count=planned"], Preferences(transaction="rollback", count="planned")),
        (["count=exact", "count=planned"], Preferences(count="exact")),
        (["handling=strict, timezone=Europe/Vienna"], Preferences(
            handling="strict", timezone="Europe/Vienna")),
        (["timezone="], Preferences(timezone="")),
        (["max-affected=10"], Preferences(max_affected=10)),
        (["max-affected=many"], Preferences()),
        (["max-affected=99999999999999999999"], Preferences()),
        (["count=all, new"], Preferences(invalid=("count=all", "new"))),
        (["count=exact,"], Preferences(count="exact", invalid=("",))),
        (["Count=exact"], Preferences(invalid=("Count=exact",))),
        (["count = exact"], Preferences(invalid=("count = exact",))),
    ],
)  # fmt: skip
def test_preferences(values: list[str], expected: Preferences):
    assert Preferences.parse(values) == expected


def test_a_transactions_end_is_the_clients_choice_only_where_settings_say_so():
    sent = Preferences.parse(["tx=rollback"], may_end_transaction=False)
    assert sent == Preferences()
    assert sent.applied() is None


def test_what_was_applied_is_told_in_one_order_whatever_was_sent():
    sent = Preferences.parse(
        ["max-affected=3, timezone=UTC, handling=strict, tx=commit, count=exact, unknown"],
    )
    assert sent.applied() == "count=exact, tx=commit, handling=strict, timezone=UTC, max-affected=3"
    writing = Preferences.parse(["return=minimal,missing=null,resolution=ignore-duplicates"])
    assert writing.applied() == "resolution=ignore-duplicates, missing=null, return=minimal"
    assert replace(writing, resolution=None).applied() == "missing=null, return=minimal"


def test_max_affected_is_applied_by_strict_handling_alone():
    assert Preferences.parse(["max-affected=3"]).applied() is None
    assert Preferences.parse(["max-affected=3,handling=lenient"]).applied() == "handling=lenient"


@given(st.lists(st.text()))
def test_any_headers_are_read(values: list[str]):
    Preferences.parse(values).applied()
