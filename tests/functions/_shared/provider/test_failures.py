"""From the class of a provider's failure to its exception: retry, status and text come from one table."""

import pytest

from functions._shared.provider.answers import Answer
from functions._shared.provider.failures import (
    CLASSES,
    MaybeCreated,
    NotCreated,
    PredictionOver,
    Unreadable,
    failure_of,
    forgotten,
)
from functions._shared.provider.redaction import redacted


@pytest.mark.parametrize("error_class", CLASSES)
def test_the_class_decides_retry_and_status(error_class):
    failure = NotCreated("no", error_class=error_class)
    consequence = CLASSES[error_class]
    assert (failure.retry, failure.status) == (consequence.retry, consequence.status)
    assert failure.error_class == error_class


def test_an_unknown_class_is_a_bug():
    with pytest.raises(KeyError):
        NotCreated("no", error_class="odd")


def answer(status, text="", document=None, retry_after=None, location=None) -> Answer:
    return Answer(
        status=status, reason="Reason", text=text, document=document, location=location,
        is_json=document is not None, limits={"retry-after": retry_after} if retry_after else {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "error_class", "text"),
    [
        (answer(422, document={"detail": "no such size"}), "bad_input", "(422): no such size"),
        (answer(422, document={"title": "Invalid version"}), "unknown_model", "Invalid version"),
        (answer(401, "r8_secret1234"), "unauthorised", "(401): the server's Replicate token is"),
        (answer(502, "<html>bad gateway"), "transient", "(502): Reason"),
        (answer(500, ""), "transient", "(500): Reason"),
        (answer(400, "the key"), "bad_input", "(400): the ***"),
        (answer(400, document={"message": "CUDA", "code": "E1"}), "bad_input", "(400): CUDA (E1)"),
        (answer(500, document=[{"msg": "a"}, "b"]), "transient", "(500): a; b"),
        (answer(422, document={"detail": "Request Moderated"}), "refused", "Request Moderated"),
        (answer(403, document={"detail": "no"}), "forbidden", "account may not use this model"),
        (answer(301, location="/x/new"), "unknown_model", "(301): it has moved to /x/new"),
    ],
)
def test_a_refusal_is_classified_and_told_without_secrets(given, error_class, text):
    failure = failure_of(MaybeCreated, given, lambda told: told.replace("key", "***"))
    assert type(failure) is MaybeCreated
    assert failure.error_class == error_class
    assert text in str(failure)
    assert "r8_" not in str(failure)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (answer(429), 10.0),
        (answer(429, retry_after="7"), 7.0),
        (answer(503, retry_after="7"), None),
    ],
)
def test_only_a_busy_provider_asks_for_a_wait(given, seconds):
    assert failure_of(NotCreated, given, str).retry_after_s == seconds


def test_what_may_be_tried_again():
    assert Unreadable().retry
    assert forgotten().retry
    assert not PredictionOver("no", error_class="timed_out").retry
    assert PredictionOver("no", error_class="timed_out", retry=True).retry


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {JWT}, refused", "key eyJ***, refused"),
        ("https://user:hunter2@host/a", "https://user:***@host/a"),
        ("postgresql://edge:hunter2@db:5432/x", "postgresql://edge:***@db:5432/x"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic ***"),
        ("ghp_abcdefghijklmnopqrstuvwxyz", "ghp_***"),
        ("xoxb-1234567890-abcdefghijkl", "xoxb-***"),
        ("sb_secret_abcdefghijkl", "sb_secret_***"),
        ("r8_abcdefgh and Bearer abcdefghijklm", "r8_*** and Bearer ***"),
        ("?token=abcdefghij&x=1", "?token=***&x=1"),
        ("https://host:8080/a@b, basic knowledge", "https://host:8080/a@b, basic knowledge"),
    ],
)
def test_credentials_of_any_known_form_are_cut_out(text, shown):
    assert redacted(text) == shown
