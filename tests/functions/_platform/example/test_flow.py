"""The whole flow in a real Chromium: an account, a picture with its progress, cancel, delete, a source picture."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.chromium import IN_CHROMIUM
from tests.functions._platform.example.visitors import (
    DESKTOP,
    PASSWORD,
    PHONE,
    Visitor,
    half_drawn,
    shown,
)
from tests.help import eventually, until

pytestmark = IN_CHROMIUM
BOTH = pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
FILES = "select count(*) from storage.objects where bucket_id = 'generated-images'"


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called ``name``."""
    for _ in range(30):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(document.activeElement.ariaLabel ?? document.activeElement.labels?.[0]?.innerText"
            " ?? document.activeElement.querySelector?.('img')?.alt ?? document.activeElement.innerText ?? '')"
        )
        if name in focused:
            return
    pytest.fail(f"Tab never comes to {name}")


@BOTH
def test_by_keyboard_alone(visit, db, viewport):
    visitor: Visitor = visit(viewport=viewport)
    page, keys = visitor.page, visitor.page.keyboard
    expect(page.get_by_label("E-mail")).to_be_focused()
    keys.type(visitor.address)
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    expect(visitor.prompt).to_be_focused()
    expect(page.get_by_role("heading", name="Nothing on the wall yet")).to_be_visible()
    keys.type("a lighthouse at dawn")
    keys.press("Enter")
    card = visitor.card("a lighthouse at dawn")
    shown(card)
    expect(page.locator("#news")).to_have_text("completed: a lighthouse at dawn")
    expect(visitor.prompt).to_be_focused()
    expect(visitor.prompt).to_have_value("")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert db.execute(FILES.encode()).fetchone() == {"count": 1}
    tab_to(page, "Delete: a lighthouse at dawn")
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Delete this picture?")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("button", name="Delete: a lighthouse at dawn")).to_be_focused()
    keys.press("Enter")
    keys.press("Tab")
    keys.press("Enter")
    expect(card).to_have_count(0)
    expect(visitor.prompt).to_be_focused()
    until(db, "select count(*) from image_generations", 0)
    until(db, FILES, 0)
    keys.press("Shift+Tab")
    expect(page.get_by_role("button", name="Sign out")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_label("E-mail")).to_be_focused()
    assert visitor.session() is None


@BOTH
def test_progress_is_shown_as_it_happens(visit, sandbox, slow, db, viewport):
    visitor: Visitor = visit(viewport=viewport).sign_up()
    card = visitor.draw("a slow river")
    expect(card.locator(".stage")).to_have_text("Starting …")
    half_drawn(card, sandbox)
    percent = card.get_by_role("progressbar", name="a slow river")
    assert 30 < percent.evaluate("(bar) => bar.value") < 90
    expect(visitor.page.locator("#news")).to_have_text("Drawing: a slow river")
    visitor.look(f"progress-{viewport['width']}")
    slow()
    shown(card)
    expect(percent).to_have_count(0)
    visitor.look(f"picture-{viewport['width']}")


def test_the_thumbnail_is_small_and_leads_to_the_picture(visit):
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    card = visitor.draw("a red door")
    shown(card)
    thumbnail = card.locator("img")
    assert "/storage/v1/render/image/public/" in thumbnail.get_attribute("src")
    assert thumbnail.evaluate("(picture) => picture.naturalHeight") == 640
    assert thumbnail.get_attribute("alt") == "a red door"
    with visitor.context.expect_page() as opened:
        card.get_by_role("link").click()
    assert opened.value.evaluate("document.images[0].naturalHeight") == 1024


def test_the_form_asks_for_what_was_chosen(visit, db):
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    visitor.page.get_by_label("Model").select_option(label="SDXL")
    visitor.page.get_by_label("Tall").check(force=True)
    shown(visitor.draw("a tall tree"))
    row = db.execute("select model, width, height from image_generations").fetchone()
    assert row == {"model": "SDXL", "width": 832, "height": 1216}


def test_the_ideas_fill_the_prompt(visit):
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    visitor.page.get_by_role("button", name="a fox asleep in fresh snow").click()
    expect(visitor.prompt).to_have_value("a fox asleep in fresh snow")
    expect(visitor.prompt).to_be_focused()


def test_cancel_stops_the_prediction(visit, sandbox, slow, db):
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    card = visitor.draw("never mind")
    visitor.eventually(lambda: len(sandbox.state.predictions))
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    until(db, "select status from image_generations", "cancelled")
    eventually(lambda: [one.status for one in sandbox.state.predictions.values()] == ["canceled"])
    visitor.page.reload()
    expect(visitor.page.get_by_role("heading", name="Nothing on the wall yet")).to_be_visible()


def test_a_cancel_that_comes_too_late_keeps_the_picture(visit, db):
    """The picture is completed while the request is on its way."""
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    visitor.refusals = True
    card = visitor.draw("almost there")
    shown(card)
    card.locator(".cancel").dispatch_event("click")
    until(db, "select count(*) from image_generations where status = 'completed'", 1)
    expect(card).not_to_have_attribute("aria-busy", "true")
    expect(card.locator("img")).to_be_visible()
    expect(card.locator(".trouble")).to_be_hidden()


def picture(folder: Path) -> Path:
    file = folder / "source.png"
    Image.new("RGB", (256, 256), "orange").save(file)
    return file


def test_a_source_picture_is_private_and_reaches_the_model(visit, sandbox, edge, db, tmp_path):
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    page = visitor.page
    page.get_by_label("Add a picture").set_input_files(picture(tmp_path))
    expect(page.get_by_alt_text("Your source picture")).to_be_visible()
    visitor.look("source")
    shown(visitor.draw("the same in blue"))
    expect(page.get_by_alt_text("Your source picture")).to_be_hidden()
    [prediction] = sandbox.state.predictions.values()
    assert prediction.input["image"].startswith("data:image/png;base64,")
    stored = db.execute(
        "select name, bucket_id from storage.objects where bucket_id = 'source-images'"
    )
    [row] = stored.fetchall()
    assert row["name"].startswith(f"{visitor.session()['user']['id']}/")
    public = f"{edge.url}/storage/v1/object/public/source-images/{row['name']}"
    assert edge.client.get(public).status_code >= 400


def test_a_source_picture_can_be_removed(visit, sandbox, tmp_path, db):
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    page = visitor.page
    page.get_by_label("Add a picture").set_input_files(picture(tmp_path))
    page.get_by_role("button", name="Remove the source picture").click()
    expect(page.get_by_alt_text("Your source picture")).to_be_hidden()
    shown(visitor.draw("without it"))
    assert (
        db.execute("select from storage.objects where bucket_id = 'source-images'").fetchall() == []
    )


def test_a_photograph_that_is_chosen_twice_is_uploaded_twice_at_most(visit, tmp_path, db):
    """The form's file field is emptied at each choice, so that the same file can be chosen again."""
    visitor: Visitor = visit(viewport=DESKTOP).sign_up()
    for prompt in ("one", "two"):
        visitor.page.get_by_label("Add a picture").set_input_files(picture(tmp_path))
        shown(visitor.draw(prompt))
    until(db, "select count(*) from storage.objects where bucket_id = 'source-images'", 2)


def test_enter_may_be_quicker_than_the_list_of_models(visit, db):
    """It was "Cannot read properties of undefined"."""
    visitor: Visitor = visit(viewport=DESKTOP)
    held: list[Route] = []
    visitor.page.route("**/rest/v1/models*", lambda route: held.append(route))
    card = visitor.sign_up().draw("in a hurry")
    visitor.eventually(lambda: held)
    expect(visitor.page.locator("#composer")).to_have_attribute("aria-busy", "true")
    held[0].continue_()
    shown(card)
