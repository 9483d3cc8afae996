"""The provider's webhook: believed only when signed, for this prediction, and only the first time."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from functions._shared.provider.failures import Failure
from functions._shared.provider.replicate import Replicate
from scripts.postgres import free_port
from tests.conftest import Edge
from tests.help import BANANA, eventually, start, until_ended

NEVER_DUE = "update predictions set next_poll_at = now() + interval '1 hour'"


@pytest.fixture
def public_edge(start_edge, monkeypatch) -> Edge:
    """An edge that the sandbox can call, and that does not poll."""

    async def never(self) -> None:
        return None

    monkeypatch.setattr("functions.process_generation.poller.Poller.run", never)
    port = free_port()
    return start_edge(EDGE_PORT=str(port), PUBLIC_URL=f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "fault", ["", "[fault:webhook-twice]", "[fault:webhook-late]", "[fault:webhook-early]"]
)
def test_its_call_ends_the_prediction_without_a_poll(public_edge: Edge, db, sandbox, fault):
    sandbox.state.webhooks.late_seconds = 0.1
    generation = until_ended(
        public_edge, start(public_edge, model_id=BANANA, prompt=f"a cat {fault}")
    )
    assert (generation["status"], len(generation["images"])) == ("completed", 1)
    assert sandbox.state.calls["get"] == 0
    assert len(sandbox.state.predictions) == 1
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 2}


@pytest.mark.parametrize("fault", ["webhook-never", "webhook-forged"])
def test_without_a_good_call_the_poller_is_the_net(start_edge, db, sandbox, fault):
    port = free_port()
    edge = start_edge(EDGE_PORT=str(port), PUBLIC_URL=f"http://127.0.0.1:{port}")
    generation = until_ended(edge, start(edge, model_id=BANANA, prompt=f"a cat [fault:{fault}]"))
    assert generation["status"] == "completed"
    assert sandbox.state.calls["get"] >= 1


@pytest.fixture
def running(start_edge, db, sandbox, monkeypatch):
    """An edge, and a row of predictions that runs; nobody polls or calls."""

    async def never(self) -> None:
        return None

    monkeypatch.setattr("functions.process_generation.poller.Poller.run", never)
    edge = start_edge()
    start(edge, model_id=BANANA)
    running = "select * from predictions where status = 'running'"
    row = eventually(lambda: db.execute(running).fetchone())
    return edge, row, sandbox


def call(
    edge,
    row,
    sandbox,
    *,
    body=None,
    query=None,
    secret=None,
    headers=None,
    age=timedelta(),
    text=None,
):
    prediction = sandbox.state.predictions[row["prediction_id"]]
    base = sandbox.url.removesuffix("v1")
    text = text or json.dumps({**prediction.as_json(base), **(body or {})})
    now = datetime.now(UTC) - age
    signature = Webhook(secret or sandbox.state.webhooks.secret).sign("msg_1", now, text)
    return edge.post(
        "process-generation/webhook",
        token=None,
        content=text,
        params={"prediction": str(row["id"]), "secret": row["callback_secret"], **(query or {})},
        headers={
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
            **(headers or {}),
        },
    )


FORGERIES = [
    pytest.param({"secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, 401, id="another secret"),
    pytest.param({"age": timedelta(minutes=6)}, 401, id="too old"),
    pytest.param({"age": timedelta(minutes=-6)}, 401, id="from the future"),
    pytest.param({"headers": {"webhook-signature": "v1"}}, 401, id="no signature"),
    pytest.param({"headers": {"webhook-signature": "v1,!!!"}}, 401, id="not base64"),
    pytest.param({"headers": {"webhook-signature": ""}}, 401, id="empty"),
    pytest.param({"headers": {"webhook-timestamp": "soon"}}, 401, id="no time"),
    pytest.param({"headers": {"webhook-id": "msg_2"}}, 401, id="signed for another message"),
    pytest.param({"query": {"secret": "x"}}, 404, id="another prediction's secret"),
    pytest.param({"query": {"prediction": "x"}}, 404, id="no intent"),
    pytest.param(
        {"query": {"prediction": "11111111-1111-4111-8111-111111111111"}}, 404, id="unknown intent"
    ),
    pytest.param({"body": {"id": "another"}}, 404, id="a foreign prediction"),
]


@pytest.mark.parametrize(("change", "status"), FORGERIES)
def test_what_is_forged_or_foreign_changes_nothing(running, db, change, status):
    edge, row, sandbox = running
    answer = call(edge, row, sandbox, **change)
    assert answer.status_code == status, answer.text
    assert row["callback_secret"] not in answer.text
    assert db.execute("select status from predictions").fetchone() == {"status": "running"}


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, "[" * 3000 + "]" * 3000, "[]", "{}", "7", '{"id": "../x", "status": "x"}', "{"],
)
def test_a_signed_body_that_is_no_prediction_changes_nothing(running, db, text):
    edge, row, sandbox = running
    answer = call(edge, row, sandbox, text=text)
    assert (answer.status_code, answer.json()["error"]) == (
        401,
        "The webhook's body is no prediction",
    )
    assert db.execute("select status from predictions").fetchone() == {"status": "running"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"metrics": {"total_time": 1e308}}, "succeeded"),
        ({"metrics": "long"}, "succeeded"),
        ({"status": "failed", "error": "a\0b\ud83d"}, "failed"),
        ({"status": "failed", "error": {"message": "odd"}}, "failed"),
        ({"status": ["succeeded"]}, "running"),
        ({"output": 7}, "failed"),
    ],
)
def test_its_fields_may_be_of_any_type(running, db, body, status):
    edge, row, sandbox = running
    assert call(edge, row, sandbox, body=body).status_code == 200
    found = db.execute("select status, seconds from predictions").fetchone()
    assert found == {"status": status, "seconds": None}


def test_what_still_runs_changes_nothing(running, db):
    edge, row, sandbox = running
    assert call(edge, row, sandbox, body={"status": "processing"}).status_code == 200
    assert db.execute("select status from predictions").fetchone() == {"status": "running"}


def test_a_repeated_call_changes_nothing_more(running, db):
    edge, row, sandbox = running
    assert [call(edge, row, sandbox).status_code for _ in range(3)] == [200, 200, 200]
    jobs = db.execute("select job_type, status from job_queue order by created_at").fetchall()
    assert [job["job_type"] for job in jobs] == ["generate-image", "download-image"]
    assert jobs[0]["status"] == "completed"
    assert sandbox.state.calls["webhook-secret"] == 1


def test_a_changed_secret_is_asked_for_again(running, monkeypatch):
    edge, row, sandbox = running
    assert call(edge, row, sandbox, body={"status": "processing"}).status_code == 200
    monkeypatch.setattr(sandbox.state.webhooks, "secret", "whsec_" + "B" * 32)
    assert call(edge, row, sandbox).status_code == 401, "it was asked for a moment ago"
    monkeypatch.setattr("functions._shared.provider.replicate.SECRET_ASKED_S", 0)
    assert call(edge, row, sandbox).status_code == 200


def test_a_secret_that_cannot_be_had_is_503_so_that_it_comes_again(running, monkeypatch):
    async def out_of_reach(self, **_):
        raise Failure("Replicate is not reachable")

    edge, row, sandbox = running
    monkeypatch.setattr(Replicate, "webhook_secret", out_of_reach)
    assert call(edge, row, sandbox).status_code == 503
