"""How long a 429 asks to wait, in each form that providers use."""

import time
from email.utils import formatdate

import pytest

from functions._shared.provider.waits import MAX_WAIT_S, spacing_s, wait_s


@pytest.mark.parametrize(
    ("headers", "body", "text", "seconds"),
    [
        ({}, None, "Request was throttled. Expected available in 1 second.", 1),
        ({}, None, "Request was throttled. Expected available in 1.5 seconds.", 1.5),
        ({}, None, "Expected available in 12 second(s).", 12),
        ({}, None, "Your rate limit resets in ~8s.", 8),
        ({}, None, "Please try again in 7.188s. Visit the site.", 7.188),
        ({}, None, "please slow down and try again after 51.84 seconds.", 51.84),
        ({}, None, "Please retry in 350ms", 0.35),
        ({}, None, "try again in 1m30s", 90),
        ({}, None, "wait 2 minutes", 120),
        ({}, None, "wait a moment, 5 pictures are drawn", None),
        ({"retry-after": "7"}, None, "", 7),
        ({"retry-after": "1.5"}, None, "", 1.5),
        ({"retry-after": "40s"}, None, "", 40),
        ({"retry-after-ms": "1500", "retry-after": "2"}, None, "", 1.5),
        ({"retry-after": "2"}, {"retry_after": 9}, "resets in ~9s", 2),
        ({}, {"retry_after": 8}, "", 8),
        ({}, {"retry_after": "8.5"}, "", 8.5),
        ({"ratelimit": '"default";r=0;t=30'}, None, "", 30),
        ({"ratelimit": "limit=100, remaining=0, reset=12"}, None, "", 12),
        ({"ratelimit-reset": "9"}, None, "", 9),
        ({"x-ratelimit-reset-after": "0.25"}, None, "", 0.25),
        ({"x-ratelimit-reset-requests": "6m0s"}, None, "", 360),
        ({"retry-after": "7200"}, None, "", MAX_WAIT_S),
        # Absurd or meaningless: as if nothing were stated.
        ({"retry-after": "100000"}, None, "", None),
        ({"retry-after": "0"}, None, "", None),
        ({"retry-after": "-3"}, None, "", None),
        ({"retry-after": "1e400"}, {"retry_after": -1}, f"resets in ~{'9' * 5000}s.", None),
        ({"retry-after": "soon"}, {"retry_after": True}, "", None),
        ({"retry-after": formatdate(0, usegmt=True)}, {"retry_after": float("nan")}, "", None),
        ({"x-ratelimit-reset": "1"}, ["retry_after"], "", 1),
        ({}, None, "", None),
    ],
)
def test_the_wait_is_read_from_what_states_it(headers, body, text, seconds):
    assert wait_s(headers, body, text) == (seconds and pytest.approx(seconds))


@pytest.mark.parametrize(
    "headers",
    [
        lambda now: {"retry-after": formatdate(now + 100, usegmt=True)},
        lambda now: {"x-ratelimit-reset": str(int(now) + 100)},
        lambda now: {"x-ratelimit-reset": str(int(now * 1000) + 100_000)},
        lambda now: {"ratelimit-reset": str(int(now) + 100)},
    ],
    ids=["HTTP date", "epoch", "milliseconds", "RateLimit-Reset as epoch"],
)
def test_a_point_in_time_is_a_distance_from_now(headers):
    assert wait_s(headers(time.time()), None, "") == pytest.approx(100, abs=5)


def test_a_rate_without_bursts_spaces_the_creates():
    text = "Your rate limit is reduced to 6 requests per minute with a burst of 1 requests"
    assert spacing_s(text) == 10
    assert spacing_s("reduced to 0 requests per minute with a burst of 1") is None
