"""The page in a real Chromium: without JavaScript all of it works; with it, what changes is seen without a reload."""

from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.conftest import Database
from tests.functions._operate.operators import BOB, DESKTOP, generation_id, job_id

pytestmark = IN_CHROMIUM


def test_without_javascript_a_class_of_failures_is_redriven_by_three_clicks(
    seeded, operator, db: Database
):
    visitor = operator(viewport=DESKTOP, java_script_enabled=False)
    page = visitor.page
    page.get_by_role("region", name="Failures by class").get_by_role("link", name="timeout").click()
    expect(page.locator("#jobs tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Run again all that match").click()
    visitor.look("sure")
    page.get_by_role("button", name="Run again", exact=True).click()
    expect(page.get_by_role("status").first).to_have_text("3 jobs run again")
    failed = db.execute("select count(*) from job_queue where status = 'failed'").fetchone()
    assert failed == {"count": 6}
    page.reload()
    expect(page.get_by_role("status")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your key")).to_be_visible()


def test_parts_that_change_are_put_in_their_places(seeded, operator, db: Database):
    page = operator(viewport=DESKTOP).go(f"/jobs/{job_id(3)}").page
    expect(page.locator("#explained")).to_contain_text("line: 3 jobs of its type are before it")
    page.evaluate("window.kept = true")
    db.execute("select pause_queue('generate-image')")
    expect(page.locator("#explained")).to_contain_text("paused: pause_queue('generate-image')")
    db.execute("select cancel_job(%s)", [job_id(3)])
    expect(page.locator("#state")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert page.evaluate("window.kept")


def test_a_box_that_is_ticked_stays_so(seeded, operator, db: Database):
    page = operator(viewport=DESKTOP).go("/jobs?status=pending").page
    page.get_by_role("checkbox").first.check()
    page.clock.install()
    db.execute("select cancel_jobs('*')")
    with page.expect_response("**/operate/jobs?status=pending"):
        page.clock.fast_forward(11_000)
    expect(page.get_by_role("checkbox").first).to_be_checked()


def test_a_generation_is_followed_by_its_events(seeded, operator, db: Database):
    """With the page's own clock stopped: no timer fetches it."""
    visitor = operator(viewport=DESKTOP)
    visitor.page.clock.install()
    page = visitor.go(f"/generations/{generation_id(7)}").page
    expect(page.locator("#state")).to_contain_text("40 %")
    for progress in (60, 80):
        db.execute(
            "update image_generations set progress = %s where id = %s", [progress, generation_id(7)]
        )
        expect(page.locator("#state")).to_contain_text(f"{progress} %")
    db.execute("select cancel_job(%s)", [job_id(7)])
    expect(page.locator("#state")).to_have_text("cancelled")


def test_by_keyboard_and_read_only(seeded, operator):
    page = operator(BOB, viewport=DESKTOP).page
    expect(page.get_by_text("read-only")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    assert page.get_by_role("button").all_inner_texts() == ["Sign out"]
