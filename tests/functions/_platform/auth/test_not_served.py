"""What is not served: ``settings`` says so, and the endpoints refuse with GoTrue's codes."""

import pytest

from tests.functions._platform.auth.help import told


def test_health(auth):
    answer = auth.call("GET", "/health")
    assert answer.status_code == 200
    assert answer.json()["name"] == "GoTrue"
    assert answer.json().keys() == {"version", "name", "description"}


def test_settings(auth, start_auth):
    told = auth.call("GET", "/settings").json()
    assert {name for name, on in told["external"].items() if on} == {"email"}
    assert told["external"]["phone"] is told["external"]["google"] is False
    assert (told["disable_signup"], told["mailer_autoconfirm"]) == (False, True)
    assert (told["saml_enabled"], told["phone_autoconfirm"]) == (False, False)
    other = start_auth(
        DISABLE_SIGNUP="true",
        ENABLE_EMAIL_AUTOCONFIRM="false",
        ENABLE_ANONYMOUS_USERS="true",
        ENABLE_EMAIL_SIGNUP="false",
    )
    told = other.call("GET", "/settings").json()
    assert {name for name, on in told["external"].items() if on} == {"anonymous_users"}
    assert (told["disable_signup"], told["mailer_autoconfirm"]) == (True, False)


@pytest.mark.parametrize(
    ("method", "path", "expected", "message"),
    [
        ("GET", "/authorize?provider=google", (400, "validation_failed"),
         "Unsupported provider: provider is not enabled"),
        ("GET", "/authorize?provider=mine", (400, "validation_failed"),
         "Unsupported provider: Provider mine could not be found"),
        ("GET", "/callback", (400, "bad_oauth_callback"), "OAuth state parameter missing"),
        ("POST", "/sso", (404, "saml_provider_disabled"), "SAML 2.0 is disabled"),
        ("POST", "/sso/saml/acs", (404, "saml_provider_disabled"), "SAML 2.0 is disabled"),
        ("GET", "/oauth/authorize", (404, "feature_disabled"), "OAuth server is disabled"),
        ("POST", "/passkeys/authentication/options", (404, "passkey_disabled"), "Passkeys are disabled"),
    ],
)  # fmt: skip
def test_refusals(auth, method, path, expected, message):
    answer = auth.call(method, path)
    assert (told(answer), answer.json()["message"]) == (expected, message)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/user/identities/authorize", (404, "manual_linking_disabled")),
        ("DELETE", "/user/identities/x", (404, "manual_linking_disabled")),
        ("GET", "/user/oauth/grants", (404, "feature_disabled")),
    ],
)
def test_what_a_user_is_refused(auth, method, path, expected):
    token = auth.sign_up()["access_token"]
    assert told(auth.call(method, path, token=token)) == expected
    assert told(auth.call(method, path)) == (401, "no_authorization")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("totp", (422, "mfa_totp_enroll_not_enabled")),
        ("phone", (422, "mfa_phone_enroll_not_enabled")),
        ("webauthn", (422, "mfa_webauthn_enroll_not_enabled")),
        ("finger", (400, "validation_failed")),
    ],
)
def test_second_factors(auth, kind, expected):
    token = auth.sign_up()["access_token"]
    assert told(auth.post("/factors", {"factor_type": kind}, token)) == expected
    assert told(auth.post("/factors", {"factor_type": kind})) == (401, "no_authorization")
    challenge = f"/factors/{'0' * 8}/challenge"
    assert told(auth.post(challenge, {}, token)) == (404, "mfa_factor_not_found")


def test_a_user_has_no_second_factors(auth):
    user = auth.sign_up()["user"]
    answer = auth.admin("GET", f"/{user['id']}/factors")
    assert (answer.status_code, answer.json()) == (200, [])
