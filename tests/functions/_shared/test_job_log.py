"""One log line for each ended job: with its fields, bounded, and nothing made where its level is off."""

import json
import logging
from uuid import uuid4

import pytest

from functions._shared.job_log import log_ended
from functions._shared.jobs import Job
from functions._shared.logs import DiscreetJsonFormatter
from tests.conftest import Edge
from tests.help import SCHNELL, SMALL, eventually, start, until_ended


def job_of(payload: dict, **changes: object) -> Job:
    given = {
        "id": uuid4(), "job_type": "download-image", "payload": payload,
        "attempt_number": 2, "max_attempts": 8, "lease_token": 1, **changes,
    }  # fmt: skip
    return Job(**given)


def ended(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "event", "") == "job_ended"]


class Untouched(dict):
    def get(self, *_: object) -> object:
        raise AssertionError("read, although nothing is logged")


@pytest.mark.parametrize(("level", "failed_as"), [("WARNING", None), ("ERROR", "timeout")])
def test_where_its_level_is_off_nothing_is_made(caplog, level, failed_as):
    with caplog.at_level(level):
        log_ended(job_of(Untouched()), seconds=1.0, failed_as=failed_as)
    assert caplog.records == []


def test_its_fields_are_json_and_bounded(caplog):
    payload = {
        "generation_id": "g" * 5000, "model_id": ["no", "text"], "prompt": "a secret", "user_id": "u",
    }  # fmt: skip
    job = job_of(payload)
    with caplog.at_level("INFO"):
        log_ended(job, seconds=1.23456)
        log_ended(job, seconds=None, failed_as="model_failed")
    completed, failed = caplog.records
    line = DiscreetJsonFormatter("%(levelname)s %(message)s").format(completed)
    told = json.loads(line)
    assert len(line) < 1000
    assert "secret" not in line
    assert told["message"] == f"job {job.id} (download-image): completed, attempt 2 of 8"
    expected = {
        "event": "job_ended", "job_id": str(job.id), "job_type": "download-image",
        "generation_id": "g" * 100, "model": None, "user_id": "u", "seconds": 1.235,
        "attempt": 2, "max_attempts": 8, "outcome": "completed", "error_class": None,
    }  # fmt: skip
    assert told | expected == told
    assert completed.levelname == "INFO"
    assert (failed.levelname, failed.outcome, failed.error_class) == (
        "WARNING", "failed", "model_failed",
    )  # fmt: skip


def test_a_stored_picture_is_a_line_of_its_generation_model_and_user(edge: Edge, caplog):
    with caplog.at_level("INFO"):
        generation_id = start(edge)
        until_ended(edge, generation_id)
        eventually(lambda: ended(caplog))
    [record] = ended(caplog)
    assert (record.job_type, record.outcome, record.levelname) == (
        "download-image", "completed", "INFO",
    )  # fmt: skip
    assert (record.generation_id, record.model, record.user_id) == (
        generation_id, SCHNELL, edge.user_id,
    )  # fmt: skip
    assert record.seconds >= 0
    assert SMALL["prompt"] not in caplog.text


def test_a_prediction_that_fails_for_good_has_the_same_fields(edge: Edge, caplog):
    with caplog.at_level("INFO"):
        prompt = "a cat [fault:failed]"
        generation_id = start(edge, prompt=prompt, model_id="stability-ai/sdxl")
        until_ended(edge, generation_id)
        eventually(lambda: ended(caplog))
    [record] = ended(caplog)
    assert (record.levelname, record.job_type, record.error_class) == (
        "WARNING", "generate-image", "model_failed",
    )  # fmt: skip
    assert (record.generation_id, record.model, record.user_id) == (
        generation_id, "stability-ai/sdxl", edge.user_id,
    )  # fmt: skip
    assert prompt not in caplog.text


def test_an_attempt_that_is_repeated_is_no_line(idle_edge: Edge, db, caplog, monkeypatch):
    async def busy(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("functions.process_jobs.jobs.JOBS", {"cleanup-storage": busy})
    db.execute("select enqueue_job('cleanup-storage', '{}', p_max_attempts => 2)")
    with caplog.at_level("INFO"):
        idle_edge.post("process-jobs", {}, idle_edge.service_role_key)
        assert ended(caplog) == []
        db.execute("update job_queue set scheduled_at = now()")
        idle_edge.post("process-jobs", {}, idle_edge.service_role_key)
    [record] = ended(caplog)
    assert (record.outcome, record.error_class, record.attempt) == ("failed", "timeout", 2)
