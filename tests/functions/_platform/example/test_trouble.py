"""What goes wrong in front of the page, and what it says: refusals, failures, hostile texts, impatience."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Route, expect

from tests.chromium import IN_CHROMIUM, PATIENT_MS
from tests.functions._platform.example.visitors import DESKTOP, PHONE, Visitor, shown
from tests.help import until

pytestmark = IN_CHROMIUM
GENERATIONS = "select count(*) from image_generations"


@pytest.fixture
def visitor(visit) -> Visitor:
    visitor: Visitor = visit(viewport=DESKTOP)
    visitor.refusals = True
    return visitor


def test_a_wrong_password(visitor: Visitor):
    visitor.sign_up()
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.enter("Sign in", "wrong horse")
    said = visitor.page.locator("#welcome .trouble")
    expect(said).to_have_text("Invalid login credentials")
    expect(said).to_have_attribute("role", "alert")
    visitor.look("wrong-password")
    visitor.enter("Sign in")
    expect(visitor.prompt).to_be_focused()


def test_an_address_that_has_an_account(visitor: Visitor):
    visitor.sign_up()
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.enter("Create account")
    expect(visitor.page.locator("#welcome .trouble")).to_have_text("User already registered")


def test_an_address_to_be_confirmed(browser, start_edge):
    visitor = Visitor(browser.new_context(), start_edge(ENABLE_EMAIL_AUTOCONFIRM="false"))
    visitor.enter("Create account")
    said = "Follow the link in the mail that you have got, then sign in."
    expect(visitor.page.locator("#welcome .trouble")).to_have_text(said)
    visitor.leave()


def test_the_providers_refusal_is_said_and_can_be_tried_again(visitor: Visitor, db):
    visitor.sign_up()
    card = visitor.draw("a storm [fault:flagged]")
    expect(card).to_have_attribute("data-state", "failed")
    expect(card.locator(".trouble")).to_contain_text("flagged as sensitive")
    visitor.look("failed")
    card.get_by_role("button", name="Try again").click()
    expect(visitor.prompt).to_have_value("a storm [fault:flagged]")
    card.get_by_role("button", name="Delete").click()
    visitor.page.get_by_role("button", name="Delete", exact=True).click()
    expect(card).to_have_count(0)
    until(db, GENERATIONS, 0)


def test_a_quota_is_said(browser, start_edge, slow):
    visitor = Visitor(browser.new_context(), start_edge(QUOTA_RUNNING="1"))
    visitor.refusals = True
    visitor.sign_up()
    expect(visitor.draw("the first")).to_be_visible()
    visitor.draw("the second")
    expect(visitor.trouble()).to_have_text("You may have 1 generation at a time")
    expect(visitor.prompt).to_have_value("the second")
    visitor.leave()


def test_a_huge_prompt(visitor: Visitor):
    visitor.sign_up()
    visitor.draw("long " * 2001)
    expect(visitor.trouble()).to_have_text("prompt: must have at most 10000 characters")
    visitor.draw("x" * 1_100_000)
    expect(visitor.trouble()).to_have_text("The body is larger than 1024 KiB")
    shown(visitor.draw("w" * 9_999))
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= DESKTOP["width"]


def test_a_blank_prompt_asks_for_nothing(visitor: Visitor, db):
    visitor.sign_up()
    visitor.prompt.press("Enter")
    visitor.draw("   ")
    expect(visitor.trouble()).to_have_text("Prompt is required")
    assert db.execute(GENERATIONS.encode()).fetchone() == {"count": 0}


def test_a_hostile_prompt_is_text(visitor: Visitor):
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>&lt;b&gt;'
    visitor.sign_up()
    card = visitor.draw(hostile)
    shown(card)
    assert card.locator(".prompt").inner_text() == hostile
    assert card.locator("script, .prompt *").count() == 0
    assert card.locator("img").get_attribute("alt") == hostile
    expect(visitor.page).to_have_title("Picture Edge")
    visitor.page.reload()
    shown(visitor.card(hostile))


def test_a_hostile_error_is_text(visitor: Visitor, db):
    visitor.sign_up()
    card = visitor.draw("a storm [fault:failed]")
    expect(card).to_have_attribute("data-state", "failed")
    db.execute("update image_generations set error_message = '<img src=x onerror=alert(1)>'")
    expect(card.locator(".trouble")).to_have_text("<img src=x onerror=alert(1)>")
    expect(card.locator(".trouble *")).to_have_count(0)


def test_an_impatient_double_submit_draws_one_picture(visitor: Visitor, db):
    visitor.sign_up()
    with held(visitor, "**/functions/v1/start-generation"):
        visitor.draw("once")
        for _ in range(3):
            visitor.prompt.press("Enter")
        visitor.page.get_by_role("button", name="Draw", exact=True).click()
    shown(visitor.card("once"))
    expect(visitor.page.locator("#gallery li")).to_have_count(1)
    assert db.execute(GENERATIONS.encode()).fetchone() == {"count": 1}


@contextmanager
def held(visitor: Visitor, pattern: str) -> Iterator[None]:
    """A slow network: matching requests are sent when the block ends."""
    waiting: list[Route] = []
    visitor.page.route(pattern, lambda route: waiting.append(route))
    yield
    for route in waiting:
        route.continue_()
    visitor.page.unroute(pattern)


def test_a_lost_answer_is_asked_for_again_without_a_second_picture(visitor: Visitor, db):
    """The request arrives, its answer does not: the same Idempotency-Key finds what was started."""
    visitor.sign_up()

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    visitor.page.route("**/functions/v1/start-generation", lose, times=1)
    visitor.draw("only one")
    expect(visitor.trouble()).to_contain_text("The server cannot be reached")
    until(db, GENERATIONS, 1)
    visitor.prompt.press("Enter")
    expect(visitor.prompt).to_have_value("")
    shown(visitor.card("only one"))
    expect(visitor.page.locator("#gallery li")).to_have_count(1)
    assert db.execute(GENERATIONS.encode()).fetchone() == {"count": 1}
    visitor.complaints = [one for one in visitor.complaints if "net::ERR_FAILED" not in one]


def choose(visitor: Visitor, data: bytes, media_type: str = "image/png") -> None:
    file = {"name": "source.png", "mimeType": media_type, "buffer": data}
    visitor.page.get_by_label("Add a picture").set_input_files(file)


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_source_picture_that_is_too_large(visitor: Visitor, db):
    visitor.sign_up()
    choose(visitor, PIXEL + b"\0" * (21 * 2**20))
    visitor.draw("too much")
    expect(visitor.trouble()).to_have_text(
        "The source picture is larger than 20 MB: choose a smaller one."
    )
    assert db.execute("select from storage.objects").fetchall() == []


def test_a_source_of_20_mb_is_taken(visitor: Visitor, db):
    visitor.sign_up()
    choose(visitor, PIXEL + b"\0" * (20 * 2**20 - len(PIXEL)))
    expect(visitor.draw("just enough")).to_be_visible()
    until(db, "select count(*) from storage.objects where bucket_id = 'source-images'", 1)


def test_a_model_that_takes_no_source_picture(visitor: Visitor):
    visitor.sign_up()
    visitor.page.get_by_label("Model").select_option(label="FLUX Schnell")
    choose(visitor, PIXEL)
    visitor.draw("a fox")
    expect(visitor.trouble()).to_have_text("FLUX Schnell takes no picture: choose another model.")


def test_a_source_that_is_no_picture_is_said(visitor: Visitor):
    visitor.sign_up()
    choose(visitor, b"not a picture", "text/plain")
    visitor.draw("a fox")
    expect(visitor.trouble()).to_have_text("mime type text/plain is not supported")
    choose(visitor, b"not a picture", "image/png")
    card = visitor.draw("a fox")
    expect(card).to_have_attribute("data-state", "failed")


def test_without_a_thumbnail_the_picture_itself_is_shown(visitor: Visitor):
    """render/image refuses vector graphics, and a Supabase may be without it."""
    visitor.sign_up()
    visitor.page.get_by_label("Model").select_option(label="Recraft V3 SVG")
    card = visitor.draw("a vector fox")
    expect(card.locator("img")).to_have_attribute(
        "src", card.locator("a").get_attribute("href", timeout=PATIENT_MS)
    )
    shown(card)


def test_a_picture_with_a_long_refusal_can_be_read_on_a_phone(visit, db):
    visitor: Visitor = visit(viewport=PHONE)
    visitor.sign_up()
    card = visitor.draw("a storm [fault:failed]")
    expect(card).to_have_attribute("data-state", "failed")
    db.execute(
        "update image_generations set error_message = repeat('it went wrong because of this. ', 40)"
    )
    expect(card.locator(".trouble")).to_contain_text("because of this")
    expect(card.locator(".trouble")).to_be_in_viewport()
    card.get_by_role("button", name="Try again").click()  # without scrolling inside the card
    assert card.locator(".failure").evaluate("(box) => box.scrollHeight <= box.clientHeight")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
