"""A signed-in user's own jobs: queued by enqueue_job, cancelled by a plain UPDATE, and no more (sql/38, sql/40)."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from functions._shared.generation import MAX_PROMPT_CHARACTERS
from tests.help import BODY
from tests.sql.help import OTHER, USER, claim, job_row, signed_in, until_blocked

CANCEL = "update job_queue set status = 'cancelled', updated_at = now() where id = %s and status = 'pending'"

LONGEST = "x" * MAX_PROMPT_CHARACTERS


def enqueue(connection, user=USER, payload=BODY, role="authenticated", **arguments):
    """enqueue_job by name, as a request of the user's; the id."""
    values = {"p_job_type": "generate-image", "p_payload": json.dumps(payload), **arguments}
    named = ", ".join(f"{name} => %({name})s" for name in values)
    with signed_in(connection, user, role):
        return connection.execute(f"select enqueue_job({named}) as id", values).fetchone()["id"]


def inserted(connection, user=USER):
    """A pending generation that the client has inserted, as for generate-image."""
    with signed_in(connection, user):
        row = connection.execute(
            "insert into image_generations (user_id, prompt) values (%s, 'a cat') returning id",
            (user,),
        )
        return row.fetchone()["id"]


def generation_of(db, job_id):
    return db.execute(
        "select image_generations.* from image_generations inner join job_queue"
        " on image_generations.id = (payload ->> 'generation_id')::uuid where job_queue.id = %s",
        (job_id,),
    ).fetchone()


def refuse(connection, code, text, **arguments):
    with pytest.raises(psycopg.Error, match=text) as refused:
        enqueue(connection, **arguments)
    assert refused.value.sqlstate == code


def no_job(db):
    return db.execute("select count(*) as n from job_queue").fetchone()["n"] == 0


def test_a_users_job_is_what_start_generation_would_queue(db):
    job_id = enqueue(db)
    db.execute(
        "select picture_edge.start_generation(%s, %s::jsonb || '{\"x\": 1}')",
        (USER, json.dumps(BODY)),
    )
    theirs, ours = db.execute("select * from job_queue order by payload ? 'x'").fetchall()
    assert theirs["id"] == job_id
    generation = generation_of(db, job_id)
    assert (str(generation["user_id"]), generation["status"]) == (USER, "queued")
    assert generation["prompt"] == "a cat"
    for name in ("payload", "id", "share_rank", "created_at", "updated_at", "scheduled_at"):
        theirs.pop(name), ours.pop(name)
    assert theirs == ours
    assert str(theirs["created_by"]) == USER
    claimed = claim(db)
    assert (claimed["id"], claimed["payload"]["user_id"]) == (job_id, USER)


def test_a_user_waits_for_their_turn(db):
    db.execute(
        "select enqueue_job('generate-image', '{}', p_created_by => %s) from generate_series(1, 3)",
        (OTHER,),
    )
    mine = [enqueue(db) for _ in range(3)]
    claimed = [row["id"] for row in db.execute("select id from claim_jobs(6)")]
    assert [claimed.index(job_id) for job_id in mine] == [1, 3, 5]


@pytest.mark.parametrize("generation_status", ["pending", "queued"])
def test_the_row_that_the_client_inserted_is_the_jobs(db, generation_status):
    generation_id = inserted(db)
    db.execute("update image_generations set status = %s", (generation_status,))
    job_id = enqueue(db, payload=BODY | {"generation_id": str(generation_id)})
    assert generation_of(db, job_id)["id"] == generation_id
    assert generation_of(db, job_id)["status"] == "queued"
    assert db.execute("select count(*) as n from image_generations").fetchone() == {"n": 1}
    row = job_row(db, job_id)
    assert (row["payload"]["user_id"], str(row["created_by"])) == (USER, USER)


def test_one_generation_is_paid_for_once_however_often_it_is_asked_for(db, connect):
    payload = BODY | {"generation_id": str(inserted(db)).upper()}
    first = enqueue(db, payload=payload)
    assert enqueue(db, payload=payload) == first
    claim(db)
    assert enqueue(db, payload=payload) == first
    started = db.execute(
        "select * from picture_edge.start_generation(%s, %s)", (USER, json.dumps(BODY))
    )
    [(generation_id, job_id)] = [tuple(row.values()) for row in started]
    assert enqueue(db, payload=BODY | {"generation_id": str(generation_id)}) == job_id


def test_a_row_of_the_originals_without_a_time_is_paid_for_once_too(db):
    payload = BODY | {"generation_id": str(inserted(db))}
    db.execute("alter table image_generations alter column created_at drop not null")
    db.execute("update image_generations set created_at = null")
    assert enqueue(db, payload=payload) == enqueue(db, payload=payload)


@pytest.mark.parametrize("existing", [True, False])
def test_a_picture_inside_the_payload_is_stored_once(db, existing):
    jobs = set()
    for _ in range(3):
        more = {"generation_id": str(inserted(db))} if existing else {}
        source = {"source_image_url": "data:image/png;base64,AAAA"}
        jobs.add(enqueue(db, payload=BODY | source | more))
    sent = "select distinct payload ->> 'source_image_url' as it from job_queue where id = any(%s)"
    [row] = db.execute(sent, (list(jobs),)).fetchall()
    kept = db.execute("select reference, uri from source_images").fetchall()
    assert kept == [{"reference": row["it"], "uri": "data:image/png;base64,AAAA"}]


def test_two_calls_at_once_make_one_job(db, connect):
    payload = BODY | {"generation_id": str(inserted(db))}
    first, second = connect(autocommit=False), connect()
    with ThreadPoolExecutor(1) as thread:
        with signed_in(first, USER):
            [row] = first.execute(
                "select enqueue_job('generate-image', %s) as id", (json.dumps(payload),)
            ).fetchall()
            told = thread.submit(enqueue, second, payload=payload)
            until_blocked(db, told)
        first.commit()
        assert told.result() == row["id"]


@pytest.mark.parametrize(
    "job_type", ["download-image", "send-webhook", "process-webhook", "x", None]
)
def test_no_other_type(db, job_type):
    refuse(db, "PT400" if job_type is None else "PT403", "job", p_job_type=job_type)
    assert no_job(db)


def test_the_longest_prompts_of_start_generation_are_taken_here_as_well(db):
    assert enqueue(db, payload=BODY | {"prompt": LONGEST, "negative_prompt": LONGEST})


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        pytest.param([], "PT400", "object", id="no object"),
        pytest.param(None, "PT400", "object", id="null"),
        pytest.param({}, "PT400", "Prompt is required", id="nothing"),
        pytest.param(BODY | {"prompt": " "}, "PT400", "Prompt is required", id="blank"),
        pytest.param(BODY | {"prompt": 1}, "PT400", "Prompt is required", id="prompt a number"),
        pytest.param(BODY | {"prompt": LONGEST + "x"}, "PT400", "10000", id="a long prompt"),
        pytest.param({"prompt": "x"}, "PT400", "Model ID is required", id="no model"),
        pytest.param(BODY | {"model_id": {}}, "PT400", "Model ID", id="model an object"),
        pytest.param(BODY | {"model_id": "m" * 201}, "PT400", "200", id="a long model"),
        pytest.param(BODY | {"style": "s" * 201}, "PT400", "200", id="a long style"),
        pytest.param(BODY | {"negative_prompt": LONGEST + "x"}, "PT400", "10000", id="negative"),
        pytest.param(BODY | {"width": 16385}, "PT400", "width", id="wide"),
        pytest.param(BODY | {"height": -1}, "PT400", "height", id="high"),
        pytest.param(BODY | {"num_inference_steps": 1001}, "PT400", "steps", id="steps"),
        pytest.param(BODY | {"guidance_scale": "NaN"}, "PT400", "guidance", id="no number"),
        pytest.param(BODY | {"guidance_scale": 10**400}, "PT400", "guidance", id="a huge number"),
        pytest.param(BODY | {"x": "y" * 2_000_000}, "PT413", "1024 KiB", id="too large"),
        pytest.param(BODY | {"webhook_url": "http://x"}, "PT400", "webhook_url", id="webhook"),
        pytest.param(BODY | {"user_id": OTHER}, "PT403", "somebody else", id="another user"),
        pytest.param(BODY | {"user_id": [USER]}, "PT403", "somebody else", id="a list of users"),
        pytest.param(BODY | {"generation_id": "x"}, "PT400", "uuid", id="generation_id no uuid"),
        pytest.param(BODY | {"generation_id": OTHER}, "PT404", "not found", id="no such row"),
    ],
)
def test_a_payload_is_checked(db, payload, code, text):
    refuse(db, code, text, payload=payload)
    assert no_job(db)
    assert db.execute("select count(*) as n from image_generations").fetchone() == {"n": 0}


def test_nobody_elses_generation(db):
    theirs = inserted(db, OTHER)
    refuse(db, "PT404", "not found", payload=BODY | {"generation_id": str(theirs)})
    assert no_job(db)


@pytest.mark.parametrize(
    "status", ["processing", "downloading", "completed", "failed", "cancelled"]
)
def test_no_generation_that_is_begun_or_has_ended(db, status):
    payload = BODY | {"generation_id": str(inserted(db))}
    db.execute("update image_generations set status = %s", (status,))
    refuse(db, "PT409", f"{status} already", payload=payload)
    assert no_job(db)


@pytest.mark.parametrize(
    "arguments", [{"p_created_by": OTHER}, {"p_created_by": USER}, {"p_dedupe_key": "k"}]
)
def test_what_is_the_service_roles_is_refused(db, arguments):
    refuse(db, "PT403", "service role", **arguments)


def test_whoever_is_nobody_is_refused(db):
    refuse(db, "PT401", "Sign in", user=None)
    refuse(db, "42501", "permission denied", role="anon")


@pytest.mark.parametrize("existing", [False, True])
def test_a_user_is_bounded_in_priority_attempts_and_time(db, existing):
    def queued(**arguments):
        more = {"generation_id": str(inserted(db))} if existing else {}
        return job_row(db, enqueue(db, payload=BODY | more, **arguments))

    row = queued(p_priority=99, p_max_attempts=1000, p_scheduled_at="1970-01-01")
    assert (row["priority"], row["max_attempts"], row["share_rank"]) == (0, 3, 1)
    assert row["scheduled_at"] >= row["created_at"], "no place before older jobs"
    assert queued(p_max_attempts=1)["max_attempts"] == 1
    soon = db.execute("select now() + interval '30 s' as it").fetchone()["it"]
    assert queued(p_scheduled_at=soon)["scheduled_at"] < soon, "a clock that is fast"
    later = db.execute("select now() + interval '1 hour' as it").fetchone()["it"]
    row = queued(p_scheduled_at=later)
    assert (row["scheduled_at"], row["share_rank"]) == (later, 0)
    for never in ("2999-01-01", "infinity"):
        more = {"generation_id": str(inserted(db))} if existing else {}
        refuse(db, "PT400", "30 days", payload=BODY | more, p_scheduled_at=never)
    refuse(db, "PT400", "p_max_attempts", p_max_attempts=0)


def test_ten_jobs_wait_for_their_time_and_no_more(db):
    later = db.execute("select now() + interval '1 hour' as it").fetchone()["it"]
    for _ in range(10):
        enqueue(db, p_scheduled_at=later)
    refuse(db, "PT429", "10 jobs", p_scheduled_at=later)
    enqueue(db)
    enqueue(db, user=OTHER, p_scheduled_at=later)


@pytest.mark.parametrize("existing", [False, True])
def test_the_quota_counts(db, existing):
    db.execute("select set_user_quota(null, p_hourly => 1, p_running => 1)")
    more = {"generation_id": str(inserted(db))} if existing else {}
    enqueue(db, payload=BODY | more)
    refuse(db, "PT429", "You may have 1 generation")
    with pytest.raises(psycopg.Error) as refused:
        enqueue(db, payload=BODY | {"generation_id": str(inserted(db))})
    assert refused.value.sqlstate == "PT429"
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 1}
    enqueue(db, user=OTHER)


def test_by_position_as_well(db):
    for call in ("%s, 0, now(), 3", "%s, 0, 3", "%s, '0', '2020-01-01', '3'"):
        with signed_in(db, USER):
            db.execute(f"select enqueue_job('generate-image', {call})", (json.dumps(BODY),))
    assert db.execute("select distinct created_by::text as it from job_queue").fetchall() == [
        {"it": USER}
    ]


def test_a_job_of_a_user_wakes_a_worker(db, connect):
    listening = connect()
    listening.execute("listen picture_edge_jobs")
    enqueue(db)
    assert [note.channel for note in listening.notifies(timeout=5, stop_after=1)]


@pytest.mark.parametrize(
    "made", ["domain pg_temp.timestamptz as text", "table pg_temp.pg_class ()"]
)
@pytest.mark.parametrize("statement", ["enqueue", "cancel"])
def test_names_of_ones_own_are_refused(db, statement, made):
    """What runs with the owner's rights would take the caller's type for PostgreSQL's, with the checks it has."""
    job_id = enqueue(db)
    with signed_in(db, USER):
        db.execute(f"create {made}")
    with pytest.raises(psycopg.Error, match="A temporary object") as refused:
        enqueue(db) if statement == "enqueue" else cancel(db, job_id)
    assert refused.value.sqlstate == "PT403"


def test_a_temporary_table_of_the_sessions_is_no_reason(db):
    db.execute("create temporary table mine (id int)")
    db.execute(CANCEL, (enqueue(db),))


# Cancelling


def cancel(connection, job_id, user=USER, statement=CANCEL):
    with signed_in(connection, user):
        return connection.execute(statement, (job_id,)).rowcount


def test_a_user_cancels_their_waiting_job_and_its_generation_follows(db):
    job_id = enqueue(db)
    assert cancel(db, job_id) == 1
    row = job_row(db, job_id)
    assert (row["status"], row["completed_at"] is not None) == ("cancelled", True)
    assert generation_of(db, job_id)["status"] == "cancelled"
    assert claim(db) is None
    assert cancel(db, job_id) == 0, "once"


def test_the_webhook_of_a_generation_that_a_user_cancels_is_queued(db):
    started = db.execute(
        "select * from picture_edge.start_generation(%s, %s)",
        (USER, json.dumps(BODY | {"webhook_url": "https://x"})),
    ).fetchone()
    assert cancel(db, started["job_id"]) == 1
    queued = db.execute("select payload from job_queue where job_type = 'send-webhook'").fetchone()
    assert queued["payload"]["type"] == "generation.cancelled"


def test_the_prediction_of_a_job_that_a_user_cancels_is_looked_at_at_once(db):
    job_id = enqueue(db)
    claimed = claim(db)
    db.execute(
        "insert into predictions (job_id, lease_token, model, input, status, expires_at, next_poll_at)"
        " values (%s, %s, 'a/b', '{}', 'running', now() + interval '1 h', now() + interval '1 h')",
        (job_id, claimed["lease_token"]),
    )
    db.execute("select picture_edge.release_job(%s, %s)", (job_id, claimed["lease_token"]))
    assert cancel(db, job_id) == 1
    assert db.execute(
        "select next_poll_at <= clock_timestamp() as it from predictions"
    ).fetchone() == {"it": True}


def test_a_cancel_ends_nobody_elses_generation(db):
    """A payload may be older than the check of it."""
    theirs = inserted(db, OTHER)
    job_id = enqueue(db)
    db.execute(
        "update job_queue set payload = jsonb_build_object('generation_id', %s::uuid)", (theirs,)
    )
    assert cancel(db, job_id) == 1
    assert db.execute(
        "select status from image_generations where id = %s", (theirs,)
    ).fetchone() == {"status": "pending"}


def test_a_job_whose_generation_has_ended_is_cancelled(db):
    job_id = enqueue(db)
    db.execute("update image_generations set status = 'failed'")
    assert cancel(db, job_id) == 1
    assert generation_of(db, job_id)["status"] == "failed"


def test_a_payload_of_no_generation_is_cancelled_alone(db):
    job_id = enqueue(db)
    db.execute('update job_queue set payload = \'{"generation_id": "x"}\'')
    assert cancel(db, job_id) == 1


@pytest.mark.parametrize("status", ["processing", "completed", "failed", "cancelled"])
def test_only_what_waits_is_cancelled(db, status):
    job_id = enqueue(db)
    db.execute("update job_queue set status = %s", (status,))
    assert (
        cancel(db, job_id, statement="update job_queue set status = 'cancelled' where id = %s") == 0
    )
    assert job_row(db, job_id)["status"] == status


def test_only_a_generation_is_cancelled(db):
    job_id = db.execute(
        "select enqueue_job('download-image', '{}', p_created_by => %s) as id", (USER,)
    ).fetchone()["id"]
    assert cancel(db, job_id) == 0


def test_only_ones_own_is_cancelled(db):
    job_id = enqueue(db)
    unowned = db.execute("select enqueue_job('generate-image', '{}') as id").fetchone()["id"]
    assert (cancel(db, job_id, user=OTHER), cancel(db, unowned)) == (0, 0)
    assert job_row(db, job_id)["status"] == job_row(db, unowned)["status"] == "pending"


@pytest.mark.parametrize(
    "change",
    [
        "status = 'completed'",
        "status = 'processing'",
        "status = 'failed'",
        "updated_at = now()",
        *(
            f"status = 'cancelled', {column}"
            for column in (
                "priority = 9",
                "payload = '{}'",
                "created_by = null",
                "scheduled_at = now()",
                "max_attempts = 9",
                "attempt_number = 0",
                "share_rank = 0",
                "result = '{}'",
                "error_message = 'x'",
                "error_details = '{}'",
                "lease_token = 9",
                "dedupe_key = 'k'",
            )
        ),
    ],
)
def test_nothing_else_is_changed(db, change):
    job_id = enqueue(db)
    before = job_row(db, job_id)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        cancel(db, job_id, statement=f"update job_queue set {change} where id = %s")
    assert job_row(db, job_id) == before


def test_no_policy_of_a_projects_own_opens_more(db):
    job_id = enqueue(db)
    db.execute("create policy mine on job_queue for all using (true) with check (true)")
    assert cancel(db, job_id, user=OTHER) == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        cancel(db, job_id, statement="update job_queue set status = 'failed' where id = %s")


def test_the_time_of_a_cancel_is_the_servers(db):
    job_id = enqueue(db)
    endless = "update job_queue set status = 'cancelled', updated_at = 'infinity' where id = %s"
    assert cancel(db, job_id, statement=endless) == 1
    row = db.execute(
        "select updated_at between now() - interval '1 min' and clock_timestamp() as it from job_queue"
    )
    assert row.fetchone() == {"it": True}


def test_a_cancel_that_waited_for_a_claim_changes_nothing(db, connect):
    job_id = enqueue(db)
    worker, user = connect(autocommit=False), connect()
    assert claim(worker)["id"] == job_id
    with ThreadPoolExecutor(1) as thread:
        told = thread.submit(cancel, user, job_id)
        until_blocked(db, told)
        worker.commit()
        assert told.result() == 0
    assert job_row(db, job_id)["status"] == "processing"


@pytest.mark.parametrize(
    "statement",
    [
        "insert into job_queue (job_type, payload) values ('generate-image', '{}')",
        "delete from job_queue",
        "select edge_private.refuse_shadows()",
        "select setval('picture_edge.job_wakeups', 1)",
        "select * from queue_status",
        "select * from predictions",
    ],
)
def test_no_other_way_in(db, statement):
    enqueue(db)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), signed_in(db, USER):
        db.execute(statement)


def test_the_services_own_enqueue_is_as_it_was(db):
    with signed_in(db, None, "service_role"):
        db.execute(
            "select enqueue_job('mine', '{}', 7, 9, p_created_by => %s, p_dedupe_key => 'k')",
            (OTHER,),
        )
    row = db.execute("select * from job_queue").fetchone()
    assert (row["priority"], row["max_attempts"], str(row["created_by"])) == (7, 9, OTHER)
