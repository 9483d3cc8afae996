"""POST /admin/generate_link: each type's link works, and no mail is sent."""

import pytest

from tests.functions._platform.auth.help import PASSWORD, new_address, told
from tests.functions._platform.auth.mails import SITE, follow, fragment, mails, query, verify

MORE = {"action_link", "email_otp", "hashed_token", "verification_type", "redirect_to"}


def generate(auth, type: str, email: str, **more):
    body = {"type": type, "email": email, **more}
    return auth.post("/admin/generate_link", body, auth.edge.service_role_key)


def links(auth, type: str, email: str, **more):
    answer = generate(auth, type, email, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("type", "known"),
    [("signup", False), ("invite", False), ("magiclink", True), ("recovery", True)],
)
def test_each_link_signs_in(confirming, type, known):
    email = new_address()
    if known:
        admin = {"email": email, "email_confirm": True}
        assert confirming.admin("POST", body=admin).status_code == 200
    password = {"password": PASSWORD} if type == "signup" else {}
    made = links(confirming, type, email, data={"team": "blue"}, **password)
    assert made.keys() >= MORE
    assert (made["email"], made["verification_type"], made["redirect_to"]) == (email, type, SITE)
    assert query(made["action_link"]) == {
        "token": made["hashed_token"],
        "type": type,
        "redirect_to": SITE,
    }
    session = fragment(follow(confirming, made["action_link"]))
    user = confirming.user(session["access_token"]).json()
    assert user["email"] == email
    assert mails(confirming) == []
    if type == "signup":
        assert confirming.sign_in(email).status_code == 200


def test_the_code_works_too(auth):
    email = auth.sign_up()["user"]["email"]
    made = links(auth, "recovery", email)
    assert verify(auth, "recovery", email, made["email_otp"]).status_code == 200


def test_a_magic_link_for_a_new_address_is_a_sign_up(auth):
    made = links(auth, "magiclink", new_address())
    assert made["verification_type"] == "signup"
    assert query(made["action_link"])["type"] == "signup"


def test_a_change_of_address_by_two_links(confirming):
    email, new = new_address(), new_address()
    confirming.admin("POST", body={"email": email, "email_confirm": True})
    current = links(confirming, "email_change_current", email, new_email=new)
    changed = links(confirming, "email_change_new", email, new_email=new)
    assert changed["new_email"] == new
    assert "message" in fragment(follow(confirming, current["action_link"]))
    body = {"type": "email_change", "token_hash": changed["hashed_token"]}
    assert confirming.post("/verify", body).json()["user"]["email"] == new


@pytest.mark.parametrize(
    ("type", "more", "refused"),
    [
        ("recovery", {}, (404, "user_not_found")),
        ("email_change_new", {"new_email": "b@example.test"}, (404, "user_not_found")),
        ("signup", {}, (400, "validation_failed")),
        ("signup", {"password": "123"}, (422, "weak_password")),
        ("unheard", {}, (400, "validation_failed")),
    ],
)
def test_what_it_refuses_for_a_new_address(auth, type, more, refused):
    assert told(generate(auth, type, new_address(), **more)) == refused


@pytest.mark.parametrize("type", ["signup", "invite"])
def test_what_it_refuses_for_a_member(auth, type):
    email = auth.sign_up()["user"]["email"]
    assert told(generate(auth, type, email, password=PASSWORD)) == (422, "email_exists")


def test_to_an_address_that_is_taken_there_is_no_link(auth):
    email, other = (auth.sign_up()["user"]["email"] for _ in range(2))
    refused = generate(auth, "email_change_new", email, new_email=other)
    assert told(refused) == (422, "email_exists")


def test_only_the_service_role(auth):
    body = {"type": "magiclink", "email": new_address()}
    token = auth.sign_up()["access_token"]
    assert told(auth.post("/admin/generate_link", body, token)) == (403, "not_admin")


def test_redirect_to_in_the_body(start_auth):
    auth = start_auth(ADDITIONAL_REDIRECT_URLS="https://app.example/**")
    made = links(auth, "magiclink", new_address(), redirect_to="https://app.example/in?a=1&b=2")
    assert made["redirect_to"] == "https://app.example/in?a=1&b=2"
    assert follow(auth, made["action_link"]).startswith("https://app.example/in?a=1&b=2#access")
    foreign = links(auth, "magiclink", new_address(), redirect_to="https://evil.example/")
    assert foreign["redirect_to"] == SITE
