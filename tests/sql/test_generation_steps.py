"""A generation and its jobs move together: sql/31_start_generation.sql and the steps of sql/32 to sql/36."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.help import LEASE_LOST, USER, begin, claim, generation_row, job_row


def intend(db, job):
    return db.execute(
        "select * from picture_edge.intend_prediction"
        "(%s, %s, 'a/b', null, '{}', 'png', '{\"size: no\"}', '10 minutes')",
        (job["id"], job["lease_token"]),
    ).fetchone()


def park(db, job, intent_id, prediction_id="p1"):
    return db.execute(
        "select picture_edge.park_prediction(%s, %s, %s) as first_poll",
        (intent_id, job["lease_token"], prediction_id),
    ).fetchone()["first_poll"]


def succeed(db, job, intent_id, worker_id=None):
    """The download job where it is claimed for ``worker_id``."""
    return db.execute(
        "select * from picture_edge.succeed_prediction(%s, %s, %s, 3.2, %s, '10 s')",
        (intent_id, job["lease_token"], ["https://x/y.png", "https://x/z.png"], worker_id),
    ).fetchone()


def parked(db, start):
    """A generation whose prediction runs; returns its id, its job and the intent's id."""
    ids = start()
    job = claim(db)
    assert begin(db, job, ids["generation_id"]) is None
    intent_id = intend(db, job)["intent_id"]
    park(db, job, intent_id)
    return ids["generation_id"], job, intent_id


def finish_download(db, job):
    images = [
        {
            "user_id": USER,
            "filename": f"f{n}.png",
            "storage_path": f"u/f{n}.png",
            "public_url": f"http://p{n}",
            "format": "png",
        }
        for n in (1, 2)
    ]
    return db.execute(
        "select picture_edge.finish_download_image(%s, %s, %s) as id",
        (job["id"], job["lease_token"], Jsonb(images)),
    ).fetchone()["id"]


def downloading(db, start):
    """A generation whose picture is made; returns its id and the claimed download job."""
    generation_id, job, intent_id = parked(db, start)
    succeed(db, job, intent_id)
    return generation_id, claim(db)


def test_a_start_is_a_queued_row_and_a_job_with_the_originals_payload(db, start):
    ids = start(width=768, height=512, seed=0, style="noir", negative_prompt="dogs")
    row = generation_row(db, ids["generation_id"])
    assert (row["status"], row["model"], row["style"], row["width"], row["height"], row["steps"]) == (
        "queued", "FLUX Schnell", "noir", 768, 512, 4,
    )  # fmt: skip
    job = claim(db)
    assert job["id"] == ids["job_id"]
    assert job["payload"] == {
        "prompt": "a cat", "model_id": "black-forest-labs/flux-schnell", "width": 768, "height": 512, "seed": 0,
        "style": "noir", "negative_prompt": "dogs", "user_id": USER, "generation_id": str(ids["generation_id"]),
    }  # fmt: skip


def test_a_model_without_a_row_falls_back(db, start):
    row = generation_row(db, start(model_id="someone/some-model")["generation_id"])
    assert (row["model"], row["width"], row["height"], row["steps"], float(row["guidance_scale"])) == (
        "some-model", 1024, 1024, 30, 7.5,
    )  # fmt: skip


def test_each_step_moves_generation_and_job_together(db, start):
    generation_id, job = downloading(db, start)
    assert generation_row(db, generation_id)["status"] == "downloading"
    assert generation_row(db, generation_id)["generation_time_seconds"] == 0
    assert generation_row(db, generation_id)["adjustments"] == ["size: no"]
    assert (job["job_type"], job["payload"]["output_url"]) == ("download-image", "https://x/y.png")
    assert job["payload"]["output_urls"] == ["https://x/y.png", "https://x/z.png"]
    assert (
        db.execute("select priority from job_queue where id = %s", (job["id"],)).fetchone()[
            "priority"
        ]
        == 1
    )
    image_id = finish_download(db, job)
    row = generation_row(db, generation_id)
    assert row["status"] == "completed"
    assert row["completed_at"] is not None
    image, other = db.execute("select * from images order by created_at").fetchall()
    assert (image["id"], image["generation_id"], image["prompt"]) == (
        image_id,
        generation_id,
        "a cat",
    )
    result = db.execute("select result from job_queue where id = %s", (job["id"],)).fetchone()[
        "result"
    ]
    assert result == {
        "image_id": str(image_id),
        "public_url": "http://p1",
        "storage_path": "u/f1.png",
        "image_ids": [str(image_id), str(other["id"])],
    }


def test_repeating_a_step_whose_answer_was_lost_changes_nothing(db, start):
    _, job, intent_id = parked(db, start)
    assert park(db, job, intent_id) is None
    assert succeed(db, job, intent_id, "w")["worker_id"] == "w"
    assert succeed(db, job, intent_id, "w") is None
    assert park(db, job, intent_id) is None, "the create's answer came after the webhook"
    download = db.execute("select * from job_queue where job_type = 'download-image'").fetchone()
    assert (download["status"], download["attempt_number"]) == ("processing", 1)
    assert claim(db) is None
    assert finish_download(db, download) == finish_download(db, download)
    assert db.execute("select count(*) as n from images").fetchone()["n"] == 2
    assert db.execute("select count(*) as n from job_queue").fetchone()["n"] == 2


def test_a_first_failed_attempt_leaves_the_generation_processing(db, start):
    ids = start()
    job = claim(db)
    begin(db, job, ids["generation_id"])
    db.execute("select complete_job(%s, p_error => 'hiccup')", (job["id"],))
    assert generation_row(db, ids["generation_id"])["status"] == "processing"


@pytest.mark.parametrize("end", ["complete_job", "expired lease"])
def test_the_last_failed_attempt_fails_the_generation(db, start, end):
    ids = start()
    job = claim(db)
    db.execute("update job_queue set max_attempts = 1")
    if end == "complete_job":
        db.execute("select complete_job(%s, p_error => 'broken')", (job["id"],))
    else:
        db.execute("update job_queue set crash_count = 2, share_rank = -2")  # it ran alone
        db.execute("update job_queue set lease_expires_at = now() - interval '1 s'")
        db.execute("select picture_edge.requeue_expired()")
    row = generation_row(db, ids["generation_id"])
    assert row["status"] == "failed"
    assert row["error_message"].startswith(("broken", "Poisonous: three of its workers"))


def test_a_failed_download_says_so(db, start):
    generation_id, job = downloading(db, start)
    db.execute("select complete_job(%s, p_error => 'gone', p_retry => false)", (job["id"],))
    assert (
        generation_row(db, generation_id)["error_message"] == "Failed to download/store image: gone"
    )


def test_a_cancelled_job_cancels_its_generation(db, start):
    ids = start()
    db.execute("update job_queue set status = 'cancelled' where id = %s", (ids["job_id"],))
    assert generation_row(db, ids["generation_id"])["status"] == "cancelled"


def test_a_failed_job_with_a_foreign_payload_is_nobodys_generation(db):
    db.execute("select enqueue_job('generate-image', '{\"generation_id\": \"not a uuid\"}')")
    db.execute("select complete_job(%s, p_error => 'x', p_retry => false)", (claim(db)["id"],))
    assert db.execute("select status from job_queue").fetchone()["status"] == "failed"


def test_a_revived_job_takes_its_generation_out_of_failed(db, start):
    ids = start()
    db.execute("select complete_job(%s, p_error => 'x', p_retry => false)", (claim(db)["id"],))
    db.execute("update job_queue set status='pending', attempt_number=0, error_message=null")
    job = claim(db)
    begin(db, job, ids["generation_id"])
    row = generation_row(db, ids["generation_id"])
    assert (row["status"], row["error_message"]) == ("processing", None)


def test_a_finished_generation_is_not_begun_again(db, start):
    generation_id, job = downloading(db, start)
    finish_download(db, job)
    db.execute(
        "select enqueue_job('generate-image', %s)", (Jsonb({"generation_id": str(generation_id)}),)
    )
    again = claim(db)
    with pytest.raises(psycopg.Error, match="waits for a picture"):
        begin(db, again, generation_id)


def test_a_cancelled_generation_is_not_completed_by_a_late_download(db, start):
    generation_id, job = downloading(db, start)
    db.execute("update image_generations set status = 'cancelled'")
    with pytest.raises(psycopg.Error, match="waits for a picture"):
        finish_download(db, job)
    assert generation_row(db, generation_id)["status"] == "cancelled"
    assert db.execute("select count(*) as n from images").fetchone()["n"] == 0


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        pytest.param({}, (None, None), id="the model's own"),
        pytest.param(
            {"model_id": "stability-ai/sdxl"}, (1024, 1024), id="a model that takes sides"
        ),
        pytest.param({"aspect_ratio": "16:9"}, (None, None), id="a ratio gives them"),
        pytest.param({"aspect_ratio": "16:9", "width": 512}, (512, None), id="or the other side"),
        pytest.param({"width": 512}, (512, 512), id="one side stands for both"),
        pytest.param(
            {"source_image_url": "https://x"}, (None, None), id="a source image gives the ratio"
        ),
        pytest.param(
            {"source_image_url": "https://x", "height": 512},
            (512, 512),
            id="unless a size is asked",
        ),
    ],
)
def test_the_size_a_job_asks_the_model_for(db, start, request_, sent):
    start(**request_)
    payload = claim(db)["payload"]
    assert (payload.get("width"), payload.get("height")) == sent


def prediction(db):
    return db.execute("select * from predictions").fetchone()


def test_a_parked_job_keeps_its_lease_past_the_predictions_time(db, start):
    generation_id, job, _ = parked(db, start)
    row = db.execute(
        "select lease_expires_at - expires_at = interval '5 minutes' as later"
        " from job_queue join predictions on job_id = job_queue.id"
    ).fetchone()
    assert row == {"later": True}
    assert generation_row(db, generation_id)["replicate_prediction_id"] == "p1"
    assert db.execute("select parked_jobs from queue_status").fetchone() == {"parked_jobs": 1}
    assert job_row(db, job["id"])["status"] == "processing"


def test_the_next_worker_adopts_what_runs_and_looks_for_what_was_intended(db, start):
    ids = start()
    job = claim(db)
    assert begin(db, job, ids["generation_id"]) is None
    intent = intend(db, job)
    found = begin(db, job, ids["generation_id"])
    assert (found["id"], found["status"]) == (intent["intent_id"], "intended")
    park(db, job, intent["intent_id"])
    db.execute("update job_queue set status = 'pending'")
    again = claim(db)
    found = begin(db, again, ids["generation_id"])
    assert (found["status"], found["prediction_id"]) == ("running", "p1")
    assert found["lease_token"] == again["lease_token"]
    [due] = db.execute("select * from picture_edge.claim_polls()").fetchall()
    assert (due["prediction_id"], due["lease_token"]) == ("p1", again["lease_token"])


def test_what_an_earlier_version_has_paid_for_is_adopted_too(db, start):
    ids = start()
    db.execute("update image_generations set replicate_prediction_id = 'old'")
    found = begin(db, claim(db), ids["generation_id"])
    assert (found["status"], found["prediction_id"]) == ("running", "old")


def test_a_parked_job_nobody_looked_after_returns_uncounted(db, start):
    _, job, _ = parked(db, start)
    db.execute("update job_queue set lease_expires_at = now() - interval '1 s'")
    assert db.execute("select picture_edge.requeue_expired() as n").fetchone() == {"n": 1}
    row = job_row(db, job["id"])
    assert (row["status"], row["attempt_number"], row["crash_count"], row["errors"]) == (
        "pending", 0, 0, [],
    )  # fmt: skip


UNPARKED = {
    "completed": "select picture_edge.succeed_prediction(%(intent)s, %(token)s, '{https://x}', 1, null, '10 s')",
    "failed": "select picture_edge.fail_prediction(%(intent)s, %(token)s, 'failed', 'x', null, false)",
    "to be retried": "select picture_edge.fail_prediction(%(intent)s, %(token)s, 'failed', 'x', null, true)",
    "ended by hand": "select complete_job(%(job)s)",
    "cancelled": "select cancel_job(%(job)s)",
    "given back": "select picture_edge.release_job(%(job)s, %(token)s)",
    "expired": "update job_queue set lease_expires_at = now() - interval '1 s' where id = %(job)s",
    "reset by hand": "update job_queue set status = 'pending' where id = %(job)s",
    "reset by hand, in all columns": "update job_queue set status = 'pending', lease_expires_at = null"
    " where id = %(job)s",
}


@pytest.mark.parametrize("how", UNPARKED)
def test_a_job_is_parked_beside_its_running_prediction_only(db, start, how):
    _, job, intent_id = parked(db, start)
    seen = "select parked_jobs from queue_status"
    assert db.execute(seen).fetchone() == {"parked_jobs": 1}
    assert job_row(db, job["id"])["parked"]
    db.execute(UNPARKED[how], {"job": job["id"], "token": job["lease_token"], "intent": intent_id})
    db.execute("select picture_edge.requeue_expired()")
    assert not job_row(db, job["id"])["parked"]
    assert db.execute(seen).fetchone() == {"parked_jobs": 0}


def test_an_attempt_that_adopts_a_prediction_is_parked_with_it(db, start):
    generation_id, job, _ = parked(db, start)
    db.execute("select picture_edge.release_job(%s, %s)", (job["id"], job["lease_token"]))
    job = claim(db)
    assert not job_row(db, job["id"])["parked"]
    begin(db, job, generation_id)
    assert job_row(db, job["id"])["parked"]


@pytest.mark.parametrize(
    "claim_it",
    [
        "select claim_next_job()",
        "update job_queue set share_rank = -1; select picture_edge.claim_suspect('w', '10 s')",
    ],
    ids=["claim_jobs", "claim_suspect"],
)
def test_a_claim_unparks(db, start, claim_it):
    """Whatever the row says, as a statement by hand may have left it."""
    start()
    db.execute("alter table job_queue disable trigger complete_manual_change")
    db.execute("update job_queue set parked = true")
    for statement in claim_it.split("; "):
        db.execute(statement)
    assert db.execute("select status, parked from job_queue").fetchone() == {
        "status": "processing",
        "parked": False,
    }


@pytest.mark.parametrize(
    "step",
    [
        lambda db, job, _: intend(db, job),
        lambda db, job, intent_id: park(db, job, intent_id),
        lambda db, job, intent_id: succeed(db, job, intent_id),
        lambda db, job, intent_id: fail(db, job, intent_id),
    ],
    ids=["intend", "park", "succeed", "fail"],
)
def test_no_step_without_the_lease(db, start, step):
    _, job, intent_id = parked(db, start)
    stale = {**job, "lease_token": job["lease_token"] - 1}
    with pytest.raises(psycopg.Error) as refused:
        step(db, stale, intent_id)
    assert refused.value.sqlstate == LEASE_LOST
    assert prediction(db)["status"] == "running"


def fail(db, job, intent_id, *, retry=True, retry_after=None):
    db.execute(
        "select picture_edge.fail_prediction(%s, %s, 'failed', 'broken', 'model_failed', %s, %s)",
        (intent_id, job["lease_token"], retry, retry_after),
    )


def test_a_failed_prediction_ends_the_attempt_once(db, start):
    generation_id, job, intent_id = parked(db, start)
    fail(db, job, intent_id)
    assert generation_row(db, generation_id)["replicate_prediction_id"] is None
    row = job_row(db, job["id"])
    assert (row["status"], row["attempt_number"], row["errors"][0]["class"]) == (
        "pending", 1, "model_failed",
    )  # fmt: skip
    db.execute("update job_queue set scheduled_at = now()")
    assert begin(db, claim(db), generation_id) is None, "a retry pays for a new one"


def test_one_prediction_belongs_to_one_intent(db, start):
    parked(db, start)
    ids = start()
    job = claim(db)
    begin(db, job, ids["generation_id"])
    intent = intend(db, job)
    with pytest.raises(psycopg.Error, match="another intent") as refused:
        park(db, job, intent["intent_id"], "p1")
    assert refused.value.sqlstate == LEASE_LOST


def test_polls_are_handed_out_once_and_grow_apart(db, start):
    parked(db, start)
    assert not db.execute("select * from picture_edge.claim_polls()").fetchall(), "not yet due"
    distances = []
    for _ in range(6):
        db.execute("update predictions set next_poll_at = now()")
        [due] = db.execute("select * from picture_edge.claim_polls()").fetchall()
        distances.append(round(due["next_poll_seconds"]))
        assert (due["wanted"], due["expired"]) == (True, False)
    assert distances[:2] == [2, 4]
    assert 3 <= distances[2] <= 8, "on the grid of five seconds"
    assert all(0 <= distance <= 15 for distance in distances[3:])
    on_grid = db.execute("select extract(epoch from next_poll_at) % 15 = 0 as it from predictions")
    assert on_grid.fetchone()["it"]


def test_a_fast_model_is_looked_at_sooner(db, start):
    for _ in range(2):
        _, job, intent_id = parked(db, start)
        db.execute(
            "select picture_edge.succeed_prediction(%s, %s, '{https://x}', 0.8, null, '10 s')",
            (intent_id, job["lease_token"]),
        )
        db.execute("update predictions set prediction_id = gen_random_uuid()")
        claim(db)
    assert db.execute("select picture_edge.typical_seconds('a/b') as s").fetchone()[
        "s"
    ] == pytest.approx(0.8)
    ids = start()
    job = claim(db)
    begin(db, job, ids["generation_id"])
    intent = intend(db, job)
    assert intent["typical_seconds"] == pytest.approx(0.8)
    assert park(db, job, intent["intent_id"], "p9") == pytest.approx(0.2)


@pytest.mark.parametrize("end", ["cancel_job", "failed by hand"])
def test_the_prediction_of_a_job_that_has_ended_is_looked_at_at_once(db, start, end):
    _, job, intent_id = parked(db, start)
    if end == "cancel_job":
        db.execute("select cancel_job(%s)", (job["id"],))
    else:
        db.execute("update job_queue set status = 'failed'")
    [due] = db.execute("select * from picture_edge.claim_polls()").fetchall()
    assert (due["intent_id"], due["wanted"]) == (intent_id, False)
    db.execute("select picture_edge.abandon_prediction(%s)", (intent_id,))
    assert prediction(db)["status"] == "canceled"


def test_a_429_holds_back_everybody(db, start):
    ids = start()
    job = claim(db)
    begin(db, job, ids["generation_id"])
    db.execute("select picture_edge.limit_provider('30 s')")
    intent = intend(db, job)
    assert intent["intent_id"] is None
    assert 25 < intent["retry_after"].total_seconds() <= 30
    assert prediction(db) is None
    db.execute("select picture_edge.limit_provider('1 s')")
    assert intend(db, job)["retry_after"].total_seconds() > 20, "a shorter wait takes nothing back"


def test_a_paused_download_is_not_claimed_with_the_end_before_it(db, start):
    _, job, intent_id = parked(db, start)
    db.execute("select pause_queue('download-image')")
    assert succeed(db, job, intent_id, "w") is None
    row = db.execute("select status from job_queue where job_type = 'download-image'").fetchone()
    assert row == {"status": "pending"}


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("3.5", 3.5),
        ("0", 0),
        ("86400", 86400),
        ("1e308", None),
        ("NaN", None),
        ("-1", None),
        ("Infinity", None),
        (None, None),
    ],
)
def test_what_a_picture_took_is_kept_up_to_a_day(db, start, told, kept):
    """A worker of an earlier version passes on whatever the provider says."""
    _, job, intent_id = parked(db, start)
    db.execute(
        "select picture_edge.succeed_prediction(%s, %s, '{https://x}', %s::float8, null, '10 s')",
        (intent_id, job["lease_token"], told),
    )
    assert db.execute("select status, seconds from predictions").fetchone() == {
        "status": "succeeded",
        "seconds": kept,
    }


def test_absurd_times_of_before_do_not_count(db):
    db.execute("alter table predictions drop constraint predictions_seconds_check")
    db.execute(
        "insert into predictions (job_id, lease_token, model, input, status, seconds, expires_at, ended_at)"
        " select gen_random_uuid(), 1, 'a/b', '{}', 'succeeded', seconds, now(), now()"
        " from unnest('{1e308, 1e308, NaN, Infinity, -5, 4, 6}'::float8[]) as seconds"
    )
    assert db.execute("select picture_edge.typical_seconds('a/b') as it").fetchone() == {"it": 5}
