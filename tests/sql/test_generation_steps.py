"""A generation and its jobs move together: sql/30_start_generation.sql, 31_generation_steps.sql."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

USER = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def start(db):
    def call(**request):
        body = {"prompt": "a cat", "model_id": "black-forest-labs/flux-schnell", **request}
        return db.execute("select * from start_generation(%s, %s)", (USER, Jsonb(body))).fetchone()

    return call


def generation(db, generation_id):
    return db.execute("select * from image_generations where id = %s", (generation_id,)).fetchone()


def claim(db):
    return db.execute("select * from claim_next_job()").fetchone()


def finish_generate(db, job):
    return db.execute(
        "select finish_generate_image(%s, %s, 'https://x/y.png', 'png', 1024, 768, 3) as id",
        (job["id"], job["lease_token"]),
    ).fetchone()["id"]


def finish_download(db, job):
    image = {
        "user_id": USER,
        "filename": "f.png",
        "storage_path": "u/f.png",
        "public_url": "http://p",
        "format": "png",
    }
    return db.execute(
        "select finish_download_image(%s, %s, %s) as id",
        (job["id"], job["lease_token"], Jsonb(image)),
    ).fetchone()["id"]


def downloading(db, start):
    """A generation whose picture is made; returns its id and the claimed download job."""
    ids = start()
    job = claim(db)
    db.execute(
        "select begin_generation(%s, %s, %s)", (job["id"], job["lease_token"], ids["generation_id"])
    )
    finish_generate(db, job)
    return ids["generation_id"], claim(db)


def test_a_start_is_a_queued_row_and_a_job_with_the_originals_payload(db, start):
    ids = start(width=768, height=512, seed=0, style="noir", negative_prompt="dogs")
    row = generation(db, ids["generation_id"])
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
    row = generation(db, start(model_id="someone/some-model")["generation_id"])
    assert (row["model"], row["width"], row["height"], row["steps"], float(row["guidance_scale"])) == (
        "some-model", 1024, 1024, 30, 7.5,
    )  # fmt: skip


def test_each_step_moves_generation_and_job_together(db, start):
    generation_id, job = downloading(db, start)
    assert generation(db, generation_id)["status"] == "downloading"
    assert generation(db, generation_id)["generation_time_seconds"] == 3
    assert (job["job_type"], job["payload"]["output_url"]) == ("download-image", "https://x/y.png")
    assert (
        db.execute("select priority from job_queue where id = %s", (job["id"],)).fetchone()[
            "priority"
        ]
        == 1
    )
    image_id = finish_download(db, job)
    row = generation(db, generation_id)
    assert row["status"] == "completed"
    assert row["completed_at"] is not None
    image = db.execute("select * from images").fetchone()
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
        "public_url": "http://p",
        "storage_path": "u/f.png",
    }


def test_repeating_a_step_whose_answer_was_lost_changes_nothing(db, start):
    ids = start()
    job = claim(db)
    db.execute(
        "select begin_generation(%s, %s, %s)", (job["id"], job["lease_token"], ids["generation_id"])
    )
    assert finish_generate(db, job) == finish_generate(db, job)
    download = claim(db)
    assert finish_download(db, download) == finish_download(db, download)
    assert db.execute("select count(*) as n from images").fetchone()["n"] == 1
    assert db.execute("select count(*) as n from job_queue").fetchone()["n"] == 2


def test_a_first_failed_attempt_leaves_the_generation_processing(db, start):
    ids = start()
    job = claim(db)
    db.execute(
        "select begin_generation(%s, %s, %s)", (job["id"], job["lease_token"], ids["generation_id"])
    )
    db.execute("select complete_job(%s, p_error => 'hiccup')", (job["id"],))
    assert generation(db, ids["generation_id"])["status"] == "processing"


@pytest.mark.parametrize("end", ["complete_job", "expired lease"])
def test_the_last_failed_attempt_fails_the_generation(db, start, end):
    ids = start()
    job = claim(db)
    db.execute("update job_queue set max_attempts = 1")
    if end == "complete_job":
        db.execute("select complete_job(%s, p_error => 'broken')", (job["id"],))
    else:
        db.execute("update job_queue set lease_expires_at = now() - interval '1 s'")
        db.execute("select requeue_expired()")
    row = generation(db, ids["generation_id"])
    assert row["status"] == "failed"
    assert row["error_message"] in {"broken", "The worker stopped answering"}


def test_a_failed_download_says_so(db, start):
    generation_id, job = downloading(db, start)
    db.execute("select complete_job(%s, p_error => 'gone', p_retry => false)", (job["id"],))
    assert generation(db, generation_id)["error_message"] == "Failed to download/store image: gone"


def test_a_cancelled_job_cancels_its_generation(db, start):
    ids = start()
    db.execute("update job_queue set status = 'cancelled' where id = %s", (ids["job_id"],))
    assert generation(db, ids["generation_id"])["status"] == "cancelled"


def test_a_failed_job_with_a_foreign_payload_is_nobodys_generation(db):
    db.execute("select enqueue_job('generate-image', '{\"generation_id\": \"not a uuid\"}')")
    db.execute("select complete_job(%s, p_error => 'x', p_retry => false)", (claim(db)["id"],))
    assert db.execute("select status from job_queue").fetchone()["status"] == "failed"


def test_a_revived_job_takes_its_generation_out_of_failed(db, start):
    ids = start()
    db.execute("select complete_job(%s, p_error => 'x', p_retry => false)", (claim(db)["id"],))
    db.execute("update job_queue set status='pending', attempt_number=0, error_message=null")
    job = claim(db)
    db.execute(
        "select begin_generation(%s, %s, %s)", (job["id"], job["lease_token"], ids["generation_id"])
    )
    row = generation(db, ids["generation_id"])
    assert (row["status"], row["error_message"]) == ("processing", None)


def test_a_prediction_is_kept_for_the_next_worker(db, start):
    ids = start()
    job = claim(db)
    lease = (job["id"], job["lease_token"], ids["generation_id"])
    begin = "select begin_generation(%s, %s, %s) as prediction"
    assert db.execute(begin, lease).fetchone()["prediction"] is None
    db.execute("select record_prediction(%s, %s, %s, 'p1')", lease)
    assert db.execute(begin, lease).fetchone()["prediction"] == "p1"


def test_a_finished_generation_is_not_begun_again(db, start):
    generation_id, job = downloading(db, start)
    finish_download(db, job)
    db.execute(
        "select enqueue_job('generate-image', %s)", (Jsonb({"generation_id": str(generation_id)}),)
    )
    again = claim(db)
    with pytest.raises(psycopg.Error, match="waits for a picture"):
        db.execute(
            "select begin_generation(%s, %s, %s)",
            (again["id"], again["lease_token"], generation_id),
        )


def test_a_cancelled_generation_is_not_completed_by_a_late_download(db, start):
    generation_id, job = downloading(db, start)
    db.execute("update image_generations set status = 'cancelled'")
    with pytest.raises(psycopg.Error, match="waits for a picture"):
        finish_download(db, job)
    assert generation(db, generation_id)["status"] == "cancelled"
    assert db.execute("select count(*) as n from images").fetchone()["n"] == 0


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        pytest.param({}, (1024, 1024), id="the model's own"),
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
