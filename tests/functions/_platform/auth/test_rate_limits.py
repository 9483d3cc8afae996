"""Rate limits by client address."""

import pytest

from functions._platform.auth.rate_limits import BURST
from functions._shared.auth.throttle import MAX_ADDRESSES, AddressLimit
from tests.functions._platform.auth.help import PASSWORD, new_address, told

LIMITS = {
    "RATE_LIMIT_TOKEN_REFRESH": "1",
    "RATE_LIMIT_OTP": "1",
    "RATE_LIMIT_VERIFY": "1",
    "RATE_LIMIT_ANONYMOUS_USERS": "2",
}


@pytest.fixture
def limited(start_auth):
    return start_auth(**LIMITS, ENABLE_ANONYMOUS_USERS="true")


def sent(auth, method, path, body, address="198.51.100.7"):
    return auth.call(method, path, body, headers={"X-Forwarded-For": address})


@pytest.fixture
def own_keys(start_auth):
    """Behind a proxy: the well-known keys would serve this machine alone."""
    return start_auth(**LIMITS, SUPABASE_JWT_SECRET="own" * 20, ENABLE_ANONYMOUS_USERS="true")


@pytest.mark.parametrize(
    ("path", "body", "refusal", "burst"),
    [
        ("/token?grant_type=password", {"email": "a@b.test", "password": "x"}, 400, BURST),
        ("/token?grant_type=refresh_token", {"refresh_token": "x"}, 400, BURST),
        ("/signup", {"email": "nonsense", "password": PASSWORD}, 400, BURST),
        ("/signup", {}, 200, 2),
    ],
)
def test_a_burst_and_then_429(own_keys, path, body, refusal, burst):
    for _ in range(burst):
        assert sent(own_keys, "POST", path, body).status_code == refusal
    over = sent(own_keys, "POST", path, body)
    assert told(over) == (429, "over_request_rate_limit")
    assert over.json()["message"] == "Request rate limit reached"
    assert 0 < int(over.headers["Retry-After"]) <= 1800
    assert sent(own_keys, "POST", path, body, "198.51.100.8").status_code == refusal


def test_each_endpoint_has_its_own_limit(limited):
    session = limited.sign_up()
    for _ in range(BURST):
        limited.sign_in(new_address())
    assert limited.sign_in(new_address()).status_code == 429
    assert limited.call("PUT", "/user", {}, session["access_token"]).status_code == 200
    assert limited.user(session["access_token"]).status_code == 200


def test_the_local_stack_has_none(auth):
    """All clients of a laptop have one address."""
    assert {auth.sign_in("a@b.test").status_code for _ in range(BURST + 10)} == {400}


def test_a_bucket_is_refilled(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("functions._shared.auth.throttle.time.monotonic", lambda: now[0])
    limit = AddressLimit(burst=2, per_s=0.1)
    assert [limit.take("10.0.0.1") for _ in range(3)] == [0, 0, 10]
    now[0] = 9
    assert limit.take("10.0.0.1") == 1
    now[0] = 10
    assert [limit.take("10.0.0.1") for _ in range(2)] == [0, 10]
    now[0] = 1000
    assert [limit.take("10.0.0.1") for _ in range(3)] == [0, 0, 10]


def test_memory_is_bounded():
    limit = AddressLimit(burst=1, per_s=1)
    for number in range(MAX_ADDRESSES + 10):
        limit.take(f"address {number}")
    assert len(limit._buckets) == MAX_ADDRESSES
