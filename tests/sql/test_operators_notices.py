"""What operators' commands say: what they did, and a NOTICE for a name that nothing has."""

import psycopg
import pytest

from tests.conftest import Database


@pytest.fixture
def said(db: Database) -> list[str]:
    """The notices of the session, as psql shows them."""
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    return notices


@pytest.mark.parametrize(
    ("call", "notice"),
    [
        (
            "pause_queue('generate_image')",
            "No job of type generate_image was ever queued; perhaps generate-image",
        ),
        ("pause_queue('zzz')", "No job of type zzz was ever queued"),
        (
            "redrive_failed('Download Image')",
            "No job of type Download Image was ever queued; perhaps download-image",
        ),
        (
            "enqueue_job('generate-imge', '{}')",
            "No handler of ours has the job type generate-imge; perhaps generate-image",
        ),
        (
            "set_provider_limit(p_provider => 'replicat', p_in_flight => 1)",
            "No job type spends provider replicat, so no limit applies; perhaps replicate",
        ),
        ("resume_queue('generate_image')", "Nothing was paused under this name. Paused: nothing"),
        ("pause_queue()", "Paused: 0 due jobs are held, and all that come"),
        ("set_provider_limit()", "replicate: any number of predictions a minute, any number at a time"),
        (
            "set_user_quota(p_hourly => 5)",
            "Users without a quota of their own: generations at a time any number, an hour 5, a day any number",
        ),
        ("set_provider_limit(60, 3)", "replicate: 60 predictions a minute, 3 at a time"),
    ],
)  # fmt: skip
def test_a_command_says_what_it_did_and_a_wrong_name_the_nearest(db: Database, said, call, notice):
    db.execute(f"select {call}")
    assert notice in said


@pytest.mark.parametrize(
    "call",
    [
        "enqueue_job('generate-image', '{}')",
        "enqueue_job('send-mail', '{}')",
        "enqueue_job('resize-video', '{}')",
        "redrive_failed('generate-image')",
        "redrive_failed()",
    ],
)
def test_a_right_name_says_nothing(db: Database, said, call):
    db.execute(f"select {call}")
    assert said == []


def test_a_type_of_ones_own_is_known_once_it_was_queued(db: Database, said):
    db.execute("select enqueue_job('send-mail', '{}')")
    db.execute("select pause_queue('send-mail')")
    assert said == ["Paused: 1 due jobs are held, and all that come"]


def test_a_pause_says_how_many_it_holds(db: Database, said):
    db.execute("select enqueue_job('generate-image', '{}') from generate_series(1, 3)")
    db.execute(
        "select enqueue_job('generate-image', '{}', p_scheduled_at => now() + interval '1h')"
    )
    db.execute("select pause_queue('generate-image')")
    assert said == ["Paused: 3 due jobs are held, and all that come"]
    held = db.execute("select job_type, jobs from picture_edge.paused_due()").fetchall()
    assert held == [{"job_type": "generate-image", "jobs": 3}]


def test_a_generations_id_in_place_of_a_jobs_gets_the_jobs_as_a_hint(db: Database):
    user = db.execute("select gen_random_uuid() as id").fetchone()["id"]
    started = db.execute(
        "select * from picture_edge.start_generation(%s, %s)",
        (user, psycopg.types.json.Jsonb({"prompt": "a fox", "model_id": "a/b"})),
    ).fetchone()
    with pytest.raises(psycopg.Error, match="not found") as failure:
        db.execute("select cancel_job(%s)", (started["generation_id"],))
    hint = f"This is the id of a generation. Its jobs: generate-image {started['job_id']}"
    assert failure.value.diag.message_hint == hint


def test_null_is_named(db: Database):
    with pytest.raises(psycopg.Error, match="Job null not found"):
        db.execute("select redrive_job(null)")
    with pytest.raises(psycopg.Error, match="p_limit must be 0 or more"):
        db.execute("select redrive_failed(null, -1)")
    with pytest.raises(psycopg.Error, match="A quota must be 0 or more"):
        db.execute("select set_user_quota(p_running => 1, p_daily => -1)")
