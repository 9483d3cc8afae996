"""What an operator asks, answered by the page alone, with the clicks that each answer takes from the overview."""

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP
from tests.help import start

pytestmark = IN_CHROMIUM

PAUSE = "select pause_queue('generate-image')"
REFUSED = """
insert into provider_limits (provider, not_before) values ('replicate', now() + interval '5 minutes')
on conflict (provider) do update set not_before = excluded.not_before
"""
OTHERS = """
insert into job_queue (job_type, payload, scheduled_at)
select 'generate-image', '{}', now() - interval '1 hour' from generate_series(1, 1000)
"""
NO_WORKER = """
create function no_heartbeat() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger no_heartbeat before insert or update on workers for each row execute function no_heartbeat();
delete from workers
"""


class Clicks:
    def __init__(self, page) -> None:
        self.page = page
        self.count = 0

    def on(self, role: str, name: str) -> None:
        self.page.get_by_role(role, name=name).first.click()
        self.count += 1


@pytest.mark.parametrize(
    ("state", "at_once", "on_its_page"),
    [
        (PAUSE, "generate-image is paused", "paused: pause_queue('generate-image')"),
        (REFUSED, "replicate has answered 429", "provider limit: replicate has answered 429"),
        (OTHERS, "generate-image is late", "line: 1000 jobs of its type are before it"),
        (NO_WORKER, "No worker", "no worker: no process has run jobs within ten minutes"),
    ],
    ids=["a pause", "a 429", "behind 1,000 others", "no worker"],
)
def test_why_a_picture_waits_is_two_clicks_away(operate, operator, db, state, at_once, on_its_page):
    start(operate, prompt="a fox that waits")
    db.execute(state.encode())
    page = operator(viewport=DESKTOP).page
    page.reload()
    expect(page.locator(".health")).to_contain_text(at_once)
    clicks = Clicks(page)
    clicks.on("link", "Generations")
    clicks.on("link", "a fox that waits")
    expect(page.get_by_text(on_its_page)).to_be_visible()
    assert clicks.count == 2


def test_who_spent_most_today_is_one_click_away(seeded, operator):
    clicks = Clicks(operator(viewport=DESKTOP).page)
    clicks.on("link", "Users")
    first = clicks.page.locator("#users tbody tr").first
    expect(first).to_contain_text("mira@example.com")
    assert clicks.count == 1


def test_a_kind_of_failures_is_redriven_in_three_clicks(seeded, operator, db):
    clicks = Clicks(operator(viewport=DESKTOP).page)
    clicks.on("link", "Failures")
    clicks.on("link", "Run these")
    clicks.on("button", "Run these")
    expect(clicks.page.get_by_role("status")).to_contain_text("failed jobs run again")
    assert clicks.count == 3
    failed = db.execute("select count(*)::int as n from job_queue where status = 'failed'")
    assert failed.fetchone() == {"n": 0}
