"""Users: who spends most, quotas and budgets of one, cancelling all that is theirs."""

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP, PHONE, post

MIRA = "00000000-0000-4000-8000-000000000001"
OPEN = f"""
select count(*)::int as n from job_queue where created_by = '{MIRA}' and status in ('pending', 'processing')
"""


def test_who_spent_most_comes_first(ada, seeded):
    page = ada.get("/operate/users").text
    assert page.index("mira@example.com") < page.index("&lt;b&gt;eve&lt;/b&gt;@example.com")
    for span in ("7d", "30d", "'"):
        assert "mira@example.com" in ada.get(f"/operate/users?span={span}").text


def test_one_is_found_by_address_or_id(ada, seeded):
    for q in ("mira@example.com", MIRA):
        answer = ada.get("/operate/users", params={"q": q}, follow_redirects=True)
        assert answer.url.path == f"/operate/users/{MIRA}"
        assert "mira@example.com" in answer.text
    assert "No user has the address or id" in ada.get("/operate/users?q=nobody@x").text
    assert ada.get("/operate/users/x").status_code == 404
    assert ada.get("/operate/users/00000000-0000-4000-8000-00000000dead").status_code == 200


def test_a_quota_is_set_and_shown(ada, seeded, db):
    page = post(ada, f"/users/{MIRA}/quota", running="2", hourly=" 10 ", daily="").text
    assert "generations at a time 2, an hour 10, a day any number" in page
    assert "of 10" in page
    row = db.execute(f"select running, hourly, daily from user_quotas where user_id = '{MIRA}'")
    assert row.fetchone() == {"running": 2, "hourly": 10, "daily": None}


def test_a_budget_is_set_and_shown(ada, seeded, db):
    page = post(ada, f"/users/{MIRA}/budget", daily_usd="2.50", monthly_usd="").text
    assert "USD a day 2.50, a month any amount" in page
    assert "of $2.50" in page
    row = db.execute("select scope, daily_usd::text, monthly_usd from budgets").fetchone()
    assert row == {"scope": MIRA, "daily_usd": "2.50", "monthly_usd": None}


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("quota", "running", "-1"),
        ("quota", "daily", "9999999999"),
        ("budget", "daily_usd", "-1"),
        ("budget", "daily_usd", "NaN"),
        ("budget", "monthly_usd", "1e999999"),
        ("budget", "monthly_usd", "two"),
        ("budget", "daily_usd", "1e-999999"),
        ("budget", "daily_usd", f"0.{'0' * 20000}1"),
    ],
)
def test_what_is_no_number_is_refused(ada, seeded, db, path, field, value):
    assert post(ada, f"/users/{MIRA}/{path}", **{field: value}).status_code == 400
    assert db.execute("select count(*)::int as n from budgets").fetchone() == {"n": 0}


def test_all_that_is_theirs_is_cancelled_after_a_question(ada, seeded, db):
    [row] = db.execute(OPEN).fetchall()
    asked = ada.get(f"/operate/users/{MIRA}/cancel").text
    assert f"Cancel {row['n']} jobs of mira@example.com?" in asked
    assert db.execute(OPEN).fetchone() == row
    assert f"{row['n']} jobs are cancelled" in post(ada, f"/users/{MIRA}/cancel").text
    assert db.execute(OPEN).fetchone() == {"n": 0}
    assert "Nothing to cancel" in ada.get(f"/operate/users/{MIRA}/cancel").text
    others = (
        "select count(*)::int as n from job_queue where status = 'pending' and created_by is null"
    )
    assert db.execute(others).fetchone() == {"n": 1}


def test_who_may_only_read_changes_nothing(bob, seeded):
    page = bob.get(f"/operate/users/{MIRA}").text
    assert "Set</button>" not in page
    assert "Cancel all" not in page
    assert bob.get(f"/operate/users/{MIRA}/cancel").status_code == 403


@pytest.mark.slow
@pytest.mark.skipif(IN_CHROMIUM[1].args[0], reason=IN_CHROMIUM[1].kwargs["reason"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_from_who_spent_most_to_their_budget_in_two_clicks(operator, seeded, viewport):
    visitor = operator(viewport=viewport)
    visitor.page.get_by_role("link", name="Users").click()
    visitor.check("users")
    visitor.page.get_by_role("link", name="mira@example.com").click()
    expect(visitor.page.get_by_text("Spent today")).to_be_visible()
    visitor.check("user")
    visitor.page.get_by_label("A day").last.fill("3")
    visitor.page.get_by_role("button", name="Set").last.click()
    expect(visitor.page.get_by_role("status")).to_contain_text("USD a day 3")
