"""No caller makes up time series: label values are bounded, and plain names only."""

import pytest

from functions._shared.metrics.labels import OTHER, Bounded


def test_the_first_values_pass_and_all_later_ones_are_one():
    bounded = Bounded(3, known=("known",))
    assert [bounded(name) for name in ("a", "known", "b", "c", "a", "d")] == [
        "a",
        "known",
        "b",
        OTHER,
        "a",
        OTHER,
    ]


@pytest.mark.parametrize(
    "value", ["a cat on a mat", "", None, 5, "x" * 101, "a\nb", "kim@example.com", "née", "-x"]
)
def test_what_is_no_plain_name_is_other(value):
    assert Bounded(10)(value) == OTHER


def test_models_and_job_types_are_plain():
    bounded = Bounded(10)
    for name in ("black-forest-labs/flux-1.1-pro", "deployments/acme/x", "send-webhook"):
        assert bounded(name) == name
