"""The session over reloads, its renewal and its end; other tabs, other users; breaks of the connection."""

import re
import time
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._platform.example.visitors import DESKTOP, Visitor, shown
from tests.help import eventually, until

pytestmark = IN_CHROMIUM


@pytest.fixture
def visitor(visit) -> Visitor:
    visitor: Visitor = visit(viewport=DESKTOP)
    return visitor.sign_up()


def start_elsewhere(visitor: Visitor, prompt: str) -> str:
    """Ask for a picture as the same user, from another client."""
    token = visitor.session()["access_token"]
    body = {"prompt": prompt, "model_id": "flux-krea-dev"}
    answer = visitor.edge.post("start-generation", body, token)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["generation_id"])


def test_it_is_kept_over_a_reload_with_the_pictures(visitor: Visitor):
    shown(visitor.draw("a fox"))
    visitor.page.reload()
    shown(visitor.card("a fox"))
    visitor.page.goto("about:blank")
    visitor.page.go_back()
    shown(visitor.card("a fox"))
    expect(visitor.page.locator("#connection")).to_have_text("Live")


def test_a_token_that_is_about_to_expire_is_renewed(visitor: Visitor, db):
    before = visitor.session()
    visitor.change_session(expires_at=time.time() + 30)
    shown(visitor.draw("a fox"))
    after = visitor.session()
    assert after["refresh_token"] != before["refresh_token"]
    assert after["expires_at"] > time.time() + 3000
    expect(visitor.prompt).to_be_focused()
    until(db, "select count(*) from auth.sessions", 1)


def test_two_tabs_renew_it_once(visitor: Visitor, db):
    other = visitor.open_tab()
    expect(other.locator("#connection")).to_have_text("Live")
    visitor.change_session(expires_at=time.time() - 1)
    for tab in (visitor.page, other):
        tab.evaluate(
            "import('/example/session.js').then(({ token }) => Promise.all([token(), token()]))"
        )
    until(db, "select count(*) from auth.refresh_tokens", 2)
    expect(other.get_by_label("Describe a picture")).to_be_visible()


def test_an_ended_session_is_said(visitor: Visitor, db):
    visitor.refusals = True
    db.execute("delete from auth.sessions")
    visitor.change_session(expires_at=time.time() - 1)
    visitor.draw("a fox")
    said = visitor.page.locator("#welcome .trouble")
    expect(said).to_have_text("Your session has ended. Sign in again.")
    expect(visitor.page.get_by_label("E-mail")).to_be_focused()
    assert visitor.session() is None
    visitor.enter("Sign in")
    expect(visitor.prompt).to_be_focused()
    expect(visitor.page.locator("#connection")).to_have_text("Live")


def test_a_token_that_is_refused_ends_it(visitor: Visitor):
    visitor.refusals = True
    visitor.change_session(access_token=f"{visitor.session()['access_token'][:-4]}AAAA")
    visitor.draw("a fox")
    expect(visitor.page.locator("#welcome .trouble")).to_have_text("Invalid JWT")


def test_signing_out_ends_the_session_on_the_server_and_in_other_tabs(visitor: Visitor, db):
    other = visitor.open_tab()
    # Chromium complains of a WebSocket that is closed while it connects.
    expect(other.locator("#connection")).to_have_text("Live")
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(other.get_by_label("E-mail")).to_be_visible()
    expect(other.locator("#gallery li")).to_have_count(0)
    until(db, "select count(*) from auth.sessions", 0)


def test_signing_out_while_a_picture_is_drawn(visitor: Visitor, slow, db):
    expect(visitor.draw("a slow river").locator(".stage")).to_have_text("Starting …")
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page.locator("#gallery li")).to_have_count(0)
    slow()
    until(db, "select status from image_generations", "completed")
    expect(visitor.page.get_by_label("E-mail")).to_be_visible()
    visitor.enter("Sign in")
    shown(visitor.card("a slow river"))


def test_another_tab_and_another_client_are_heard_of(visitor: Visitor, db):
    other = visitor.open_tab()
    expect(other.locator("#connection")).to_have_text("Live")
    shown(visitor.draw("a fox"))
    expect(other.locator("#gallery li[data-state=completed]")).to_have_count(1)
    start_elsewhere(visitor, "from a telephone")
    shown(visitor.card("from a telephone"))
    expect(other.locator("#gallery li[data-state=completed]")).to_have_count(2)
    db.execute("delete from image_generations where prompt = 'a fox'")
    expect(visitor.card("a fox")).to_have_count(0)
    expect(other.locator("#gallery li")).to_have_count(1)


def test_another_user_sees_nothing_of_it(visit, visitor: Visitor):
    stranger: Visitor = visit(viewport=DESKTOP).sign_up()
    frames: list[str] = []
    stranger.page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))),
    )
    stranger.page.reload()
    expect(stranger.page.locator("#connection")).to_have_text("Live")
    shown(visitor.draw("a private matter"))
    shown(stranger.draw("mine"))
    # Playwright calls listeners within its own calls only.
    eventually(lambda: stranger.page.title() and any("mine" in frame for frame in frames))
    assert not any("private" in frame for frame in frames)
    expect(stranger.page.locator("#gallery li")).to_have_count(1)
    stranger.page.reload()
    shown(stranger.card("mine"))
    expect(stranger.page.locator("#gallery li")).to_have_count(1)


def test_the_next_user_of_the_browser_sees_nothing_of_it(visitor: Visitor):
    shown(visitor.draw("a private matter"))
    visitor.prompt.fill("half a secret")
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.address = f"next.{visitor.address}"
    visitor.sign_up()
    expect(visitor.page.get_by_role("heading", name="Nothing on the wall yet")).to_be_visible()
    expect(visitor.prompt).to_have_value("")
    assert "private" not in visitor.page.content()


def test_a_break_of_the_connection_is_said_and_made_good(visitor: Visitor):
    state = visitor.page.locator("#connection")
    visitor.context.set_offline(True)
    expect(state).to_have_text("Reconnecting …")
    start_elsewhere(visitor, "while I was away")
    visitor.context.set_offline(False)
    expect(state).to_have_text("Live")
    shown(visitor.card("while I was away"))
    visitor.complaints = [
        one for one in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in one
    ]


def test_a_socket_that_the_server_closes_is_opened_again(visit):
    """The server's close, as at a restart or for a slow client."""
    visitor: Visitor = visit(viewport=DESKTOP)
    sockets: list[Any] = []

    def between(socket: Any) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    visitor.page.route_web_socket("**/realtime/v1/websocket*", between)
    visitor.sign_up()
    sockets[0].close(code=1011, reason="restart")
    expect(visitor.page.locator("#connection")).to_have_text("Reconnecting …")
    start_elsewhere(visitor, "meanwhile")
    expect(visitor.page.locator("#connection")).to_have_text("Live")
    shown(visitor.card("meanwhile"))
    assert len(sockets) == 2


def test_the_ticket_and_no_token_is_in_the_streams_address(visitor: Visitor, slow):
    addresses: list[str] = []
    visitor.page.on("request", lambda request: addresses.append(request.url))
    with visitor.page.expect_request(re.compile(r"/events\?ticket=")):
        expect(visitor.draw("a slow river").locator(".stage")).to_have_text("Starting …")
    token = visitor.session()["access_token"]
    assert not any(token in one for one in addresses)
    slow()
