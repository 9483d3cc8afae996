"""Errors and hostile input: both versions of the body, the limits, and never a 5xx for what a client sends."""

import gzip
import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functions._platform.auth.help import PASSWORD, new_address, told

ENDPOINTS = [
    ("POST", "/signup"),
    ("POST", "/token?grant_type=password"),
    ("POST", "/token?grant_type=refresh_token"),
    ("POST", "/token?grant_type=id_token"),
    ("PUT", "/user"),
    ("POST", "/admin/users"),
]


@pytest.mark.parametrize(
    ("version", "new"),
    [
        ("2024-01-01", True),
        ("2025-12-31", True),
        ("2023-12-31", False),
        ("", False),
        ("newest", False),
        ("20240101", False),
    ],
)
def test_the_version_chooses_the_body(auth, version, new):
    answer = auth.call("GET", "/user", headers={"X-Supabase-Api-Version": version})
    assert answer.headers["x-sb-error-code"] == "no_authorization"
    text = "This endpoint requires a valid Bearer token"
    if new:
        assert answer.json() == {"code": "no_authorization", "message": text}
        assert answer.headers["X-Supabase-Api-Version"] == "2024-01-01"
    else:
        assert answer.json() == {"code": 401, "error_code": "no_authorization", "msg": text}
        assert "X-Supabase-Api-Version" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/signup", 405), ("DELETE", "/user", 405), ("PATCH", "/token", 405)],
)  # fmt: skip
def test_a_path_or_method_that_there_is_not(auth, method, path, status):
    answer = auth.call(method, path)
    assert answer.status_code == status
    assert answer.json().keys() == {"code", "message"}
    assert answer.headers["x-sb-error-code"]


BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "an array": b"[]",
    "a text": b'"x"',
    "wrong types": b'{"email": 1, "password": [], "refresh_token": {}, "data": 1, "provider": 1}',
    "deep": b'{"email":' + b"[" * 100_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_none(auth, body):
    token = auth.sign_up()["access_token"]
    for method, path in ENDPOINTS:
        bearer = auth.edge.service_role_key if path.startswith("/admin") else token
        answer = auth.call(method, path, token=bearer, content=body)
        assert told(answer) == (400, "bad_json"), (path, answer.text)


@pytest.mark.parametrize(
    "body", [b'{"email": NaN}', b'{"email": "\xff\xfe@b.test", "password": "x"}']
)
def test_a_body_that_is_hardly_one(auth, body):
    for path in ("/signup", "/token?grant_type=password"):
        assert auth.post(path, content=body).status_code in {400, 422}


def test_null_counts_as_absent(auth):
    body = {"email": new_address(), "password": PASSWORD, "phone": None, "data": None, "more": [1]}
    assert auth.post("/signup", body).status_code == 200


def test_a_body_beyond_the_limit(auth):
    body = json.dumps({"email": "x" * (1024 * 1024)}).encode()
    for content, headers in (
        (body, {}),
        (gzip.compress(body), {"Content-Encoding": "gzip"}),
        (iter([body[:1000], body[1000:]]), {}),
    ):
        answer = auth.call("POST", "/signup", content=content, headers=headers)
        assert told(answer) == (413, "request_entity_too_large")
        assert answer.json()["message"] == "Request body too large (max 1048576 bytes)"


ODD = {
    "NUL": "a\0b",
    "a lone surrogate": "a\ud800b",
    "long": "a" * 100_000,
    "a digit of another script": "١",
    "SQL": "'; drop table auth.users; --",
    "percent": "%s %(x)s %",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_texts_are_stored_or_refused(auth, text):
    session = auth.sign_up()
    for body in ({"email": text}, {"password": text}, {"data": {text: text}}, {"nonce": text}):
        answer = auth.call(
            "PUT",
            "/user",
            token=session["access_token"],
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code < 500, answer.text
    sign_up = {"email": new_address(), "password": text[:72], "data": {text: text}}
    answer = auth.call("POST", "/signup", content=json.dumps(sign_up).encode())
    assert answer.status_code < 500, answer.text
    if answer.status_code == 200:
        again = json.dumps({"email": sign_up["email"], "password": sign_up["password"]}).encode()
        signed_in = auth.call("POST", "/token?grant_type=password", content=again)
        assert signed_in.status_code == 200, "the password that was chosen"


def test_a_token_with_much_metadata_is_accepted(auth):
    data = {"text": "x" * 15_000, "number": 2**53 + 1, "deep": [[[1]]]}
    session = auth.sign_up(data=data)
    stored = auth.user(session["access_token"]).json()["user_metadata"]
    assert {name: stored[name] for name in data} == data
    started = auth.edge.post(
        "start-generation",
        {"prompt": "a cat", "model_id": "flux-schnell"},
        session["access_token"],
    )
    assert started.status_code == 200


def test_metadata_never_outgrows_a_token(auth):
    session = auth.sign_up()
    user, email = session["user"]["id"], session["user"]["email"]
    token = session["access_token"]
    written = [
        auth.call("PUT", "/user", {"data": {f"{step}": "x" * 6_000}}, token).status_code
        for step in range(4)
    ]
    assert written == [200, 200, 200, 400]
    by_admin = [
        auth.admin("PUT", f"/{user}", {kind: {f"{kind}": "ü" * 900}}).status_code
        for kind in ("app_metadata", "user_metadata")
    ]
    assert by_admin == [400, 400]
    signed_in = auth.sign_in(email).json()
    assert auth.user(signed_in["access_token"]).status_code == 200


@pytest.mark.parametrize("path", ["/signup", "/otp", "/magiclink"])
def test_too_much_metadata_is_refused_for_any_address(path, confirming):
    taken, body = new_address(), {"password": PASSWORD, "data": {"text": "x" * 21_000}}
    confirming.admin("POST", body={"email": taken, "email_confirm": True})
    refused = [confirming.post(path, {"email": to, **body}) for to in (taken, new_address())]
    assert [told(one) for one in refused] == [(400, "validation_failed")] * 2


def test_a_user_with_too_much_metadata_is_not_made(auth):
    half = {"text": "x" * 11_000}
    both = {"email": new_address(), "user_metadata": half, "app_metadata": half}
    assert told(auth.admin("POST", body=both)) == (400, "validation_failed")
    assert auth.admin("POST", body={"email": both["email"]}).status_code == 200


def test_a_header_that_is_no_text(auth):
    host, port = auth.edge.url.removeprefix("http://").split(":")
    for value in (b"Bearer \xff\xfe", b"Bearer", b"Basic eDp5", b"Bearer a b", b"bearer   "):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"GET /auth/v1/user HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Authorization: " + value + b"\r\n\r\n"
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.split()[1] in {b"401", b"403"}, answer


REPEATED = pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
"""The gateway runs in a thread of the same process, and its libraries use the module."""
SLOW_AND_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
    ),
    max_leaves=5,
)
MEMBERS = st.sampled_from(
    ["email", "phone", "password", "data", "refresh_token", "nonce", "app_metadata", "user_metadata", "id", "role",
     "ban_duration", "password_hash", "email_confirm", "code_challenge", "code_challenge_method", "provider"]
)  # fmt: skip


@REPEATED
@settings(max_examples=60, suppress_health_check=SLOW_AND_SHARED)
@given(endpoint=st.sampled_from(ENDPOINTS), body=st.dictionaries(MEMBERS, VALUES, max_size=5))
def test_no_body_is_a_fault_of_ours(auth, endpoint, body):
    method, path = endpoint
    answer = auth.call(
        method, path, token=auth.edge.service_role_key, content=json.dumps(body).encode()
    )
    assert answer.status_code < 500, (endpoint, body, answer.text)


@REPEATED
@settings(max_examples=60, suppress_health_check=SLOW_AND_SHARED)
@given(body=st.dictionaries(MEMBERS, VALUES, max_size=5))
def test_no_change_of_a_user_is_a_fault_of_ours(auth, body):
    session = auth.sign_up()
    token = session["access_token"]
    answer = auth.call("PUT", "/user", token=token, content=json.dumps(body).encode())
    assert answer.status_code < 500, (body, answer.text)


@pytest.mark.parametrize("path", ["/token/?grant_type=password", "/signup//", "/signup%2f"])
def test_a_password_is_redirected_nowhere(path, auth):
    """To the Host and scheme of the request, it would be: without TLS behind a proxy."""
    answer = auth.post(path, {"email": new_address(), "password": PASSWORD})
    assert told(answer) == (404, "unknown")
