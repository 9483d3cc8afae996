"""Models: their use and cost, switching one off, the playground."""

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP, post

FLUX = "black-forest-labs/flux-schnell"
ACTIVE = f"select is_active, retired_reason from models where replicate_id = '{FLUX}'"


def test_use_success_and_cost_of_each(ada, seeded):
    page = ada.get("/operate/models").text
    row = page[page.index(f">{FLUX}<") :].partition("</tr>")[0]
    assert "%" in row
    assert "3.2 s" in row
    assert "$" in row


def test_one_is_switched_off_and_on(ada, operate, db):
    assert "is refused within 30 seconds" in post(ada, "/models", model=FLUX, do="off").text
    assert db.execute(ACTIVE).fetchone() == {"is_active": False, "retired_reason": None}
    db.execute(f"update models set retired_reason = 'gone' where replicate_id = '{FLUX}'")
    assert ">off<" in ada.get("/operate/models").text
    assert "is offered" in post(ada, "/models", model=FLUX, do="on").text
    assert db.execute(ACTIVE).fetchone() == {"is_active": True, "retired_reason": None}
    lines = db.execute("select action, filter ->> 'is_active' as it from operator_log").fetchall()
    assert [tuple(line.values()) for line in lines] == [
        ("set_model_active", "false"),
        ("set_model_active", "true"),
    ]


def test_a_name_that_none_has_gets_the_nearest(ada, operate):
    page = post(ada, "/models", model="black-forest-labs/flux-schnel", do="off").text
    assert f"perhaps {FLUX}" in page
    assert post(ada, "/models", model=FLUX, do="<b>").status_code == 400


def test_the_playground_starts_a_generation_in_the_operators_name(ada, operate, db):
    answer = post(ada, "/models/try", model="flux-schnell", prompt="a fox <b>")
    generation = db.execute("select id::text, prompt from image_generations").fetchone()
    assert generation["prompt"] == "a fox <b>"
    assert answer.url.path == f"/operate/generations/{generation['id']}"
    assert "a fox &lt;b&gt;" in answer.text
    line = db.execute("select operator, action, filter from operator_log").fetchone()
    assert line["filter"] == {"model": FLUX, "generation_id": generation["id"]}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"model": "flux-schnell", "prompt": ""}, "Prompt is required"),
        ({"model": "nobody/nothing-like-it", "prompt": "a fox"}, "nothing-like-it"),
        ({"model": "", "prompt": "a fox"}, "Model ID is required"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(ada, operate, db, sent, said):
    answer = post(ada, "/models/try", **sent)
    assert (answer.status_code, said in answer.text) == (400, True)
    assert db.execute("select count(*)::int as n from image_generations").fetchone() == {"n": 0}


def test_a_spent_budget_holds_for_operators_too(ada, operate, db):
    db.execute("select set_budget(0)")
    answer = post(ada, "/models/try", model="flux-schnell", prompt="a fox")
    assert (answer.status_code, "budget" in answer.text) == (402, True)


def test_who_may_only_read_changes_nothing(bob, operate):
    page = bob.get("/operate/models").text
    assert "Switch off" not in page
    assert "Draw it" not in page


@pytest.mark.slow
@pytest.mark.skipif(IN_CHROMIUM[1].args[0], reason=IN_CHROMIUM[1].kwargs["reason"])
def test_a_picture_is_asked_for_and_followed(operator, seeded):
    visitor = operator(viewport=DESKTOP)
    visitor.go("/models").check("models")
    visitor.page.get_by_label("Prompt").fill("a fox in the playground")
    visitor.page.get_by_role("combobox", name="Model").fill("flux-schnell")
    visitor.page.get_by_role("combobox", name="Model").press("Enter")
    expect(visitor.page.get_by_text("a fox in the playground").first).to_be_visible()
