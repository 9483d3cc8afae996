"""Webhooks out: who receives them, what fails and why, sending one again."""

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import PHONE, generation_id, post

DELIVERED, FAILED, RETRIED = (f"0199b000-0000-7000-8000-{n:012d}" for n in (1, 2, 3))
SENT = f"""
alter table job_queue disable trigger user;
insert into job_queue (id, job_type, status, attempt_number, payload, result, error_message, errors, completed_at,
    scheduled_at)
select id::uuid, 'send-webhook', status, 2, jsonb_build_object(
    'generation_id', '10000000-0000-4000-8000-000000000012', 'type', 'generation.failed', 'timestamp', 'x',
    'webhook_url', url
), result::jsonb, error, case when failed then '[{{"attempt": 1, "text": "The webhook answered 503"}}]'::jsonb
        else '[]' end,
    case when status <> 'pending' then now() end, now() + interval '1 hour'
from (values
    ('{DELIVERED}', 'completed', 'https://a.example/hook?token=s3cret', '{{"status": 204}}', null, false),
    ('{FAILED}', 'failed', 'https://key:s3cret@b.example/<b>x</b>', null, 'The webhook answered 500', true),
    ('{RETRIED}', 'pending', 'https://b.example/', null, null, true)
) as given (id, status, url, result, error, failed);
alter table job_queue enable trigger user;
"""
STATUS = "select status from job_queue where id = %s"


@pytest.fixture
def sent(operate, db):
    db.execute(SENT.encode())
    return db


def test_receivers_and_what_fails_are_told_without_secrets(ada, sent, seeded):
    address = "https://key:s3cret@c.example/hook?token=s3cret#s3cret"
    asked = "update image_generations set webhook_url = %s where id = %s"
    sent.execute(asked, [address, generation_id(12)])
    page = ada.get("/operate/webhooks").text
    assert "The webhook answered 500" in page
    assert "The webhook answered 503" in page
    assert "s3cret" not in page
    assert "a.example" in page
    assert "&lt;b&gt;x" in page
    for path in (f"/jobs/{DELIVERED}", f"/jobs/{FAILED}", f"/generations/{generation_id(12)}"):
        shown = ada.get(f"/operate{path}").text
        assert ".example/" in shown, path
        assert "s3cret" not in shown, path
    failing = ada.get("/operate/webhooks?state=failing&host=b.example").text
    assert f"/operate/jobs/{FAILED}" in failing
    assert f"/operate/jobs/{RETRIED}" in failing
    assert f"/operate/jobs/{DELIVERED}" not in failing
    assert "No webhook matches" in ada.get("/operate/webhooks?host=c.example").text
    assert ada.get("/operate/webhooks?state='&before=x").status_code == 200


def test_a_failed_one_is_sent_again_as_the_same(ada, sent):
    assert "with the same webhook-id" in post(ada, f"/webhooks/{FAILED}/resend").text
    assert sent.execute(STATUS, (FAILED,)).fetchone() == {"status": "pending"}
    assert "it waits or is being sent" in post(ada, f"/webhooks/{FAILED}/resend").text
    logged = sent.execute("select operator, action, jobs from operator_log order by id").fetchall()
    assert [tuple(line.values()) for line in logged] == [
        ("ada", "resend_webhook", 1),
        ("ada", "resend_webhook", 0),
    ]


def test_a_delivered_one_is_sent_again_as_another(ada, sent):
    assert "with the new webhook-id" in post(ada, f"/webhooks/{DELIVERED}/resend").text
    assert sent.execute(STATUS, (DELIVERED,)).fetchone() == {"status": "completed"}
    same = "select count(*)::int as n from job_queue where payload ->> 'webhook_url' like '%a.example%'"
    assert sent.execute(same).fetchone() == {"n": 2}


@pytest.mark.parametrize(
    ("id_", "status"), [("10000000-0000-4000-8000-000000000099", 404), ("x", 404)]
)
def test_what_is_no_webhook_is_refused_in_words(ada, sent, id_, status):
    assert post(ada, f"/webhooks/{id_}/resend").status_code == status


def test_another_job_is_not_sent(ada, sent):
    [row] = sent.execute("select enqueue_job('generate-image', '{}') as id").fetchall()
    answer = post(ada, f"/webhooks/{row['id']}/resend")
    assert (answer.status_code, "sends no webhook" in answer.text) == (409, True)


def test_who_may_only_read_sees_no_button(bob, sent):
    assert "Send again" not in bob.get("/operate/webhooks").text


@pytest.mark.slow
@pytest.mark.skipif(IN_CHROMIUM[1].args[0], reason=IN_CHROMIUM[1].kwargs["reason"])
def test_one_is_sent_again_without_a_script(operator, sent):
    operator(viewport=PHONE).go("/webhooks").check("webhooks")
    visitor = operator(java_script_enabled=False).go("/webhooks")
    visitor.page.get_by_role("button", name="Send again").first.click()
    expect(visitor.page.get_by_role("status")).to_contain_text("sent again")
