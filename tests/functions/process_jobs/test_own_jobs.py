"""A job that a signed-in user has queued with enqueue_job, as the field variant's app does, through to its picture."""

import json

import pytest

from tests.conftest import Database, Edge
from tests.help import SMALL, until_ended
from tests.sql.help import signed_in


@pytest.mark.parametrize("inserted", [False, True], ids=["no row yet", "the client's own row"])
def test_a_users_own_job_becomes_a_picture(edge: Edge, db: Database, inserted: bool):
    user = edge.user_id
    with signed_in(db, user):
        payload = dict(SMALL)
        if inserted:
            row = db.execute(
                "insert into image_generations (user_id, prompt) values (%s, 'a cat') returning id::text",
                (user,),
            ).fetchone()
            payload["generation_id"] = row["id"]
        job = db.execute(
            "select enqueue_job('generate-image', %s) as id", (json.dumps(payload),)
        ).fetchone()
        generation = db.execute(
            "select payload ->> 'generation_id' as id from job_queue where id = %s", (job["id"],)
        ).fetchone()
    ended = until_ended(edge, generation["id"])
    assert (ended["status"], ended["error_message"], len(ended["images"])) == ("completed", None, 1)
    with signed_in(db, user):
        rows = db.execute("select job_type, status from job_queue order by created_at").fetchall()
    assert rows == [
        {"job_type": name, "status": "completed"} for name in ("generate-image", "download-image")
    ]
