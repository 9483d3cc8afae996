"""Throttling of failed authentication by address (brute force); valid credentials are never throttled."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from jose import jwt

from functions._local.defaults import sign_key
from functions._shared.auth.throttle import FailedAttempts
from functions._shared.errors import TooManyRequests
from tests.conftest import Edge, user_token
from tests.help import BODY, until_ended

OWN = "own-secret-own-secret-own-secret-own-secret"
SERVICE = "sb_secret_serverkey_0123456789"


def status(edge: Edge, token: str, function: str = "start-generation") -> int:
    return int(edge.post(function, BODY, token).status_code)


@pytest.fixture
def guarded(start_edge) -> Edge:
    """A gateway whose callers, itself among them, all have one address, which has presented nonsense."""
    edge: Edge = start_edge(
        AUTH_FAILURES_PER_MINUTE="3",
        SUPABASE_JWT_SECRET=OWN,
        SUPABASE_SERVICE_ROLE_KEY=SERVICE,
        ALLOW_ANON="false",
        SUPABASE_PUBLISHABLE_KEYS='{"a": "sb_publishable_aaaa"}',
    )
    answers = [edge.post("start-generation", BODY, f"sb_secret_{n}") for n in range(4)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429]
    assert answers[-1].json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    return edge


def test_a_right_credential_passes_whatever_its_address_did(guarded: Edge):
    for _ in range(2):
        assert status(guarded, user_token(OWN)) == 200, "a new sign-in"
        assert status(guarded, SERVICE, "process-jobs") == 200, "cron"
        assert status(guarded, sign_key(OWN, "service_role"), "process-jobs") == 200
        good = guarded.post("start-generation", BODY, "sb_publishable_aaaa")
        assert good.json()["code"] == "UNAUTHORIZED_NO_USER", "a good key, of no user"
        assert status(guarded, user_token("x" * 40)) == 429


def test_the_process_stores_its_pictures_whatever_its_address_did(guarded: Edge):
    """With SERVE=storage it uploads to itself, from the address of everybody on the machine."""
    token = user_token(OWN)
    with ThreadPoolExecutor(1) as others:
        bad = others.submit(lambda: [status(guarded, f"sb_secret_{n}") for n in range(50)])
        started = guarded.post("start-generation", BODY, token).json()["generation_id"]
        row = until_ended(guarded, started, token)
        assert set(bad.result()) == {429}
    assert (row["status"], row["error_message"]) == ("completed", None)


def test_a_tab_with_an_expired_session_counts_as_nobodys_guess(start_edge):
    edge = start_edge(AUTH_FAILURES_PER_MINUTE="3")
    expired = user_token(exp=1)
    for _ in range(5):
        answer = edge.post("start-generation", BODY, expired)
        assert (answer.status_code, answer.json()["error"]) == (401, "JWT expired")
    assert status(edge, "sb_secret_1") == 401, "the first that counts"
    for number in range(4):
        last = status(edge, f"sb_secret_{number}")
    assert last == 429
    assert status(edge, expired) == 401, "a client has to know that it should refresh"


def test_a_repeated_refusal_is_counted_as_well(start_edge):
    edge = start_edge(AUTH_FAILURES_PER_MINUTE="3")
    forged = user_token("x" * 40)
    assert [status(edge, forged) for _ in range(5)] == [401] * 3 + [429] * 2


def test_no_limit_is_no_limit(start_edge):
    edge = start_edge(AUTH_FAILURES_PER_MINUTE="0")
    assert {status(edge, "sb_secret_1") for _ in range(100)} == {401}


# Keys as they are configured


def asymmetric_service_key() -> str:
    """A JWT that nothing here could verify: signed by another project's secret, say."""
    return jwt.encode({"role": "service_role", "exp": 4102444800}, "z" * 40, "HS256")


@pytest.mark.parametrize(
    "key", [SERVICE, asymmetric_service_key(), "an-opaque-key-of-some-other-gateway-0123456789"]
)
def test_the_configured_service_key_is_the_service_role_however_it_is_made(start_edge, key):
    edge = start_edge(SUPABASE_JWT_SECRET=OWN, SUPABASE_SERVICE_ROLE_KEY=key, ALLOW_ANON="false")
    assert status(edge, key, "process-jobs") == 200
    assert status(edge, key[:-1] + "_", "process-jobs") == 401
    token = user_token(OWN)
    started = edge.post("start-generation", BODY, token).json()["generation_id"]
    assert until_ended(edge, started, token)["status"] == "completed", (
        "and the process's own uploads"
    )


def test_the_configured_anon_key_is_anon_however_it_is_made(start_edge):
    key = jwt.encode({"role": "anon"}, "z" * 40, "HS256")
    edge = start_edge(SUPABASE_JWT_SECRET=OWN, SUPABASE_ANON_KEY=key, ALLOW_ANON="true")
    assert status(edge, key) == 200


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("unused", "UNAUTHORIZED_INVALID_JWT_FORMAT"),
        (jwt.encode({"role": "service_role", "exp": 1}, OWN, "HS256"), "UNAUTHORIZED_JWT_EXPIRED"),
    ],
)
def test_a_stopgap_and_an_expired_key_open_nothing(start_edge, key, code):
    edge = start_edge(SUPABASE_JWT_SECRET=OWN, SUPABASE_SERVICE_ROLE_KEY=key, ALLOW_ANON="false")
    answer = edge.post("process-jobs", {}, key)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


# Addresses


def counted_together(*addresses: str) -> bool:
    failed = FailedAttempts(1)
    failed.note(addresses[0])
    try:
        for address in addresses[1:]:
            failed.note(address)
    except TooManyRequests:
        return True
    return False


@pytest.mark.parametrize(
    ("addresses", "together"),
    [
        (("10.0.0.1", "10.0.0.1"), True),
        (("10.0.0.1", "10.0.0.2"), False),
        (("::ffff:10.0.0.1", "::ffff:10.0.0.2"), False),
        (("::ffff:10.0.0.1", "10.0.0.1"), True),
        (("64:ff9b::10.0.0.1", "64:ff9b::10.0.0.2"), False),
        (("64:ff9b::10.0.0.1", "10.0.0.1"), True),
        (("::ffff:0:10.0.0.1", "::ffff:0:10.0.0.2"), False),
        (("2001:db8::1", "2001:db8::2"), True),
        (("2001:db8::1", "2001:db8:0:1::1"), False),
        (("fe80::1%eth0", "fe80::2%eth1"), True),
        (("", ""), False),
    ],
)
def test_who_counts_as_one(addresses, together):
    assert counted_together(*addresses) is together


def test_a_limit_ends_with_its_minute(monkeypatch):
    failed = FailedAttempts(1)
    failed.note("10.0.0.1")
    with pytest.raises(TooManyRequests) as refused:
        failed.note("10.0.0.1")
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    later = time.monotonic() + 60
    monkeypatch.setattr("functions._shared.auth.throttle.time.monotonic", lambda: later)
    failed.note("10.0.0.1")


def test_no_more_addresses_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("functions._shared.auth.throttle.MAX_ADDRESSES", 3)
    failed = FailedAttempts(1)
    for number in range(9):
        failed.note(f"10.0.0.{number}")
    assert [*failed._limit._buckets] == ["10.0.0.6", "10.0.0.7", "10.0.0.8"]
