"""POST /invite: the service role invites, the link signs in."""

from tests.functions._platform.auth.help import new_address, told
from tests.functions._platform.auth.mails import follow, fragment, mails, newest


def invite(auth, email: str, token: str | None = None, **more):
    return auth.post("/invite", {"email": email, **more}, token or auth.edge.service_role_key)


def test_an_invitation_is_accepted_by_its_link(confirming):
    email = new_address()
    answer = invite(confirming, email, data={"team": "blue"})
    assert answer.status_code == 200, answer.text
    user = answer.json()
    assert (user["email"], user["user_metadata"]) == (email, {"team": "blue"})
    assert user["invited_at"]
    assert "email_confirmed_at" not in user
    session = fragment(follow(confirming, newest(confirming, email)["link"]))
    assert session["type"] == "invite"
    assert confirming.user(session["access_token"]).json()["email_confirmed_at"]
    chosen = confirming.call("PUT", "/user", {"password": "my password"}, session["access_token"])
    assert chosen.status_code == 200, chosen.text
    assert confirming.sign_in(email, "my password").status_code == 200


def test_an_unanswered_invitation_may_be_repeated_at_once(confirming):
    email = new_address()
    first, second = invite(confirming, email), invite(confirming, email)
    assert first.json()["id"] == second.json()["id"]
    assert len(mails(confirming, email)) == 2


def test_a_member_cannot_be_invited(auth):
    email = auth.sign_up()["user"]["email"]
    assert told(invite(auth, email)) == (422, "email_exists")


def test_only_the_service_role_invites(auth):
    token = auth.sign_up()["access_token"]
    assert told(invite(auth, new_address(), token)) == (403, "not_admin")
    assert told(invite(auth, "no address")) == (400, "validation_failed")
    assert mails(auth) == []
