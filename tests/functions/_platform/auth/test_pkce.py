"""PKCE: the mailed link gives a code, the code and its verifier a session."""

import base64
import hashlib

import pytest

from tests.functions._platform.auth.help import PASSWORD, new_address, told
from tests.functions._platform.auth.mails import SITE, follow, fragment, newest, query, verify

VERIFIER = "a-verifier-of-forty-three-characters-or-more-1"
CHALLENGE = {
    "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest())
    .rstrip(b"=")
    .decode(),
    "code_challenge_method": "S256",
}


def exchange(auth, code: str, verifier: str = VERIFIER):
    body = {"auth_code": code, "code_verifier": verifier}
    return auth.post("/token?grant_type=pkce", body)


@pytest.fixture
def code(auth) -> str:
    """The code of a followed magic link."""
    email = new_address()
    auth.post("/otp", {"email": email, **CHALLENGE})
    return query(follow(auth, newest(auth, email)["link"]))["code"]


@pytest.mark.parametrize(
    ("path", "method"),
    [("/signup", "email/signup"), ("/otp", "email/signup"), ("/recover", "recovery")],
)
def test_each_flow_ends_in_a_session(confirming, path, method):
    email = new_address()
    if path == "/recover":
        confirming.admin("POST", body={"email": email, "email_confirm": True})
    body = {"email": email, **CHALLENGE, **({"password": PASSWORD} if path == "/signup" else {})}
    assert confirming.post(path, body).status_code == 200
    link = newest(confirming, email)["link"]
    assert query(link)["token"].startswith("pkce_")
    back = follow(confirming, link)
    assert back.startswith(f"{SITE}?code=")
    assert "access_token" not in back
    session = exchange(confirming, query(back)["code"]).json()
    assert session["user"]["email"] == email
    claims = session["access_token"].split(".")[1]
    assert f'"method":"{method}"' in base64.urlsafe_b64decode(claims + "==").decode().replace(
        " ", ""
    )


def test_a_code_is_exchanged_once(auth, code):
    assert exchange(auth, code).status_code == 200
    assert told(exchange(auth, code)) == (404, "flow_state_not_found")


def test_a_wrong_verifier_does_not_use_the_code_up(auth, code):
    assert told(exchange(auth, code, VERIFIER + "x")) == (400, "bad_code_verifier")
    assert exchange(auth, code).status_code == 200


def test_an_old_code_is_refused(auth, code, db):
    db.execute("update auth.flow_state set auth_code_issued_at = now() - interval '301 seconds'")
    assert told(exchange(auth, code)) == (422, "flow_state_expired")


def test_what_was_never_given_out_is_no_code(auth, db):
    auth.post("/otp", {"email": new_address(), **CHALLENGE})
    kept = db.execute("select auth_code from auth.flow_state").fetchone()["auth_code"]
    assert told(exchange(auth, kept)) == (404, "flow_state_not_found")
    assert told(exchange(auth, "unheard")) == (404, "flow_state_not_found")
    assert told(exchange(auth, "", "")) == (400, "validation_failed")


def test_the_mailed_code_signs_a_pkce_client_in_as_well(auth):
    email = new_address()
    auth.post("/otp", {"email": email, **CHALLENGE})
    assert verify(auth, "email", email, newest(auth, email)["code"]).status_code == 200


def test_an_error_is_in_query_and_fragment(auth):
    email = new_address()
    auth.post("/otp", {"email": email, **CHALLENGE})
    link = newest(auth, email)["link"]
    follow(auth, link)
    back = follow(auth, link)
    assert query(back)["error_code"] == fragment(back)["error_code"] == "otp_expired"


def test_a_plain_challenge(auth):
    email = new_address()
    plain = {"code_challenge": VERIFIER, "code_challenge_method": "plain"}
    auth.post("/otp", {"email": email, **plain})
    code = query(follow(auth, newest(auth, email)["link"]))["code"]
    assert exchange(auth, code).status_code == 200


@pytest.mark.parametrize(
    "challenge",
    [
        {"code_challenge": "c" * 43},
        {"code_challenge_method": "s256"},
        {"code_challenge": "c" * 42, "code_challenge_method": "s256"},
        {"code_challenge": "c" * 42 + "+", "code_challenge_method": "s256"},
        {"code_challenge": "c" * 43, "code_challenge_method": "md5"},
    ],
)
@pytest.mark.parametrize("path", ["/otp", "/recover", "/magiclink"])
def test_a_malformed_challenge_is_refused(auth, path, challenge):
    refused = auth.post(path, {"email": new_address(), **challenge})
    assert told(refused) == (400, "validation_failed")


def test_challenges_of_one_user_are_bounded(start_auth, db):
    auth = start_auth(SMTP_MAX_FREQUENCY="0")
    email = new_address()
    for _ in range(23):
        assert auth.post("/otp", {"email": email, **CHALLENGE}).status_code == 200
    assert db.execute("select count(*) as kept from auth.flow_state").fetchone()["kept"] == 20
