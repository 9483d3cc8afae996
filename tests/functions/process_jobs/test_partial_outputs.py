"""Partial success: of several outputs the good ones are stored, the others are told, and no file is without a row."""

import pytest

from functions._shared.errors import GenerationFailed
from functions._shared.pictures.storage import SupabaseStorage
from functions.generate_image_legacy import app as legacy
from tests.conftest import Edge
from tests.help import SMALL, TERMINAL, eventually, start, until, until_ended

pytestmark = pytest.mark.slow

FILES = "select name from storage.objects order by name"
ROWS = "select storage_path as name from images order by storage_path"


def run_to_the_end(edge: Edge, db, generation_id: str) -> dict:
    """The generation once it has ended; retries are due at once."""

    def ended() -> dict | None:
        db.execute("update job_queue set scheduled_at = now() where status = 'pending'")
        generation = edge.get(f"start-generation/{generation_id}").json()
        return generation if generation["status"] in TERMINAL else None

    return eventually(ended)


def download(db) -> dict:
    return db.execute("select * from job_queue where job_type = 'download-image'").fetchone()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("second-foreign", ""),
        ("second-missing", "the image answered 404"),
        ("second-json", ""),
    ],
)
def test_one_bad_file_costs_none_of_the_others(edge: Edge, db, sandbox, fault, reason):
    generation_id = start(edge, num_outputs=3, prompt=f"a cat [fault:{fault}]")
    generation = run_to_the_end(edge, db, generation_id)
    assert (generation["status"], generation["error_message"]) == ("completed", None)
    names = [image["filename"] for image in generation["images"]]
    assert names == [f"{generation_id}.webp", f"{generation_id}-3.webp"]
    [note] = [note for note in generation["adjustments"] if "not stored" in note]
    assert note.startswith(f"image 2 of 3: not stored: {reason}")
    assert db.execute(FILES).fetchall() == db.execute(ROWS).fetchall()
    assert len(sandbox.state.predictions) == 1
    assert "stored" not in download(db)["payload"]


def test_a_busy_file_is_tried_again_without_storing_the_others_twice(edge: Edge, db, sandbox):
    generation_id = start(edge, num_outputs=3, prompt="a cat [fault:second-busy]")
    generation = run_to_the_end(edge, db, generation_id)
    assert [image["filename"] for image in generation["images"]] == [
        f"{generation_id}{suffix}.webp" for suffix in ("", "-2", "-3")
    ]
    assert not [note for note in generation["adjustments"] if "not stored" in note]
    assert sandbox.state.calls["output"] == 4, "three files, and the second one again"
    job = download(db)
    assert [error["text"] for error in job["errors"]] == ["the image answered 503"]
    assert "stored" not in job["payload"]
    assert len(db.execute(FILES).fetchall()) == 3


def test_the_last_attempt_completes_with_what_there_is(edge: Edge, db, sandbox):
    generation_id = start(edge, num_outputs=2, prompt="a cat [fault:second-down]")
    generation = run_to_the_end(edge, db, generation_id)
    assert (generation["status"], len(generation["images"])) == ("completed", 1)
    assert "image 2 of 2: not stored: the image answered 503" in generation["adjustments"]
    assert sandbox.state.calls["output"] == 1 + 8
    assert db.execute(FILES).fetchall() == db.execute(ROWS).fetchall()


def test_other_links_of_an_output_are_no_pictures(edge: Edge, db):
    generation = until_ended(edge, start(edge, prompt="a cat [fault:links]"))
    assert (generation["status"], len(generation["images"])) == ("completed", 1)
    assert not [note for note in generation["adjustments"] if "not stored" in note]


def test_a_job_cancelled_between_two_attempts_leaves_no_file(edge: Edge, db):
    start(edge, num_outputs=2, prompt="a cat [fault:second-down]")
    until(db, "select payload ? 'stored' from job_queue where job_type = 'download-image'", True)
    db.execute("select cancel_job(id) from job_queue where job_type = 'download-image'")
    until(db, "select count(*)::int from storage.objects", 0)
    until(db, "select status from job_queue where job_type = 'cleanup-storage'", "completed")
    assert "stored" not in download(db)["payload"]


def test_a_job_cancelled_while_it_stores_leaves_no_file(edge: Edge, db, sandbox):
    sandbox.state.slow_seconds = 0.5
    start(edge, num_outputs=4, prompt="a cat [fault:slow-file]")
    until(db, "select count(*) > 0 from storage.objects", True)
    db.execute("select cancel_job(id) from job_queue where job_type = 'download-image'")
    until(db, "select count(*)::int from storage.objects", 0)
    assert not db.execute(ROWS).fetchall()


def test_an_upload_whose_answer_was_lost_leaves_no_file(edge: Edge, db, monkeypatch):
    async def cut_off(self: SupabaseStorage, path: str, *arguments: object) -> str:
        url = await upload(self, path, *arguments)
        if "-2." in path:
            raise GenerationFailed("Storage is not reachable", retry=False)
        return url

    upload = SupabaseStorage.upload
    monkeypatch.setattr(SupabaseStorage, "upload", cut_off)
    generation = until_ended(edge, start(edge, num_outputs=2))
    assert (generation["status"], len(generation["images"])) == ("completed", 1)
    until(db, "select count(*)::int from storage.objects", 1)
    assert db.execute(FILES).fetchall() == db.execute(ROWS).fetchall()


def test_files_that_a_row_names_are_not_cleaned_up(edge: Edge, db):
    generation = until_ended(edge, start(edge))
    [path] = [row["name"] for row in db.execute(ROWS).fetchall()]
    db.execute(
        "select enqueue_job('cleanup-storage', jsonb_build_object('paths', jsonb_build_array(%s::text)))",
        (path,),
    )
    until(db, "select status from job_queue where job_type = 'cleanup-storage'", "completed")
    assert edge.client.get(generation["images"][0]["public_url"]).status_code == 200


def own_row(db, user_id: str) -> str:
    row = db.execute(
        "insert into image_generations (user_id, prompt) values (%s, 'a cat') returning id",
        (user_id,),
    ).fetchone()
    return str(row["id"])


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(legacy, "STORE_PAUSES_S", (0.01, 0.01))


def test_generate_image_tells_what_it_could_not_store(edge: Edge, db):
    request = {**SMALL, "num_outputs": 2, "prompt": "a cat [fault:second-missing]"}
    note = "image 2 of 2: not stored: the image answered 404"
    answer = edge.post("generate-image", request)
    assert answer.status_code == 200, answer.text
    assert note in answer.json()["adjustments"]
    generation_id = own_row(db, edge.user_id)
    answer = edge.post("generate-image", {**request, "generation_id": generation_id})
    assert note in answer.json()["adjustments"]
    row = db.execute("select status, adjustments from image_generations").fetchone()
    assert row["status"] == "completed"
    assert note in row["adjustments"]
    assert db.execute("select count(*)::int as n from images").fetchone() == {"n": 1}


def test_generate_image_tries_a_busy_file_again(edge: Edge, sandbox):
    request = {**SMALL, "num_outputs": 2, "prompt": "a cat [fault:second-busy]"}
    answer = edge.post("generate-image", request)
    assert "not stored" not in str(answer.json().get("adjustments"))
    assert sandbox.state.calls["output"] == 3


def test_generate_image_removes_what_no_row_will_name(edge: Edge, db, monkeypatch):
    """The client deletes its row while the picture is stored."""
    generation_id = own_row(db, edge.user_id)

    async def deleted_meanwhile(*arguments: object) -> None:
        db.execute("delete from image_generations")
        return await complete(*arguments)

    complete = legacy.rows.complete
    monkeypatch.setattr(legacy.rows, "complete", deleted_meanwhile)
    answer = edge.post("generate-image", {**SMALL, "generation_id": generation_id})
    assert answer.status_code == 404
    assert not db.execute(FILES).fetchall()


def test_nothing_stored_is_a_failure(edge: Edge, db, sandbox):
    generation_id = own_row(db, edge.user_id)
    body = {**SMALL, "generation_id": generation_id, "prompt": "a cat [fault:missing]"}
    answer = edge.post("generate-image", body)
    assert answer.status_code == 500
    assert answer.json()["error"] == "the image answered 404"


def test_a_data_uri_is_kept_once_while_it_is_needed_and_then_no_more(edge: Edge, db):
    db.execute("select pause_queue('download-image')")
    generation_id = start(edge, prompt="a cat [fault:large-data-uri]")
    until(db, "select status from job_queue where job_type = 'generate-image'", "completed")
    size = db.execute(
        "select length(payload ->> 'output_urls') as characters, pg_column_size(payload) as kept,"
        " payload -> 'output_url' as address,"
        " (select pg_column_size(result) from job_queue where job_type = 'generate-image') as result"
        " from job_queue where job_type = 'download-image'"
    ).fetchone()
    assert size["characters"] > 1_000_000
    assert size["kept"] < 1.1 * size["characters"]
    assert size["address"] is None
    assert size["result"] < 1000
    db.execute("select resume_queue('download-image')")
    generation = until_ended(edge, generation_id)
    assert (generation["images"][0]["width"], generation["images"][0]["format"]) == (512, "png")
    assert db.execute(
        "select max(pg_column_size(payload)) < 5000 as small from job_queue"
    ).fetchone() == {"small": True}


def test_an_address_stays_in_the_payload(edge: Edge, db):
    until_ended(edge, start(edge))
    payload = download(db)["payload"]
    assert payload["output_url"] == payload["output_urls"][0]


def test_failures_that_no_rule_recognises_are_counted(edge: Edge, db):
    for _ in range(2):
        until_ended(edge, start(edge, prompt="a cat [fault:unheard-of]"))
    until_ended(edge, start(edge, prompt="a cat [fault:moderated]"))
    rows = db.execute("select model, error_message, failures from unrecognised_failures").fetchall()
    assert rows == [
        {"model": SMALL["model_id"], "error_message": "frobnication of the latents", "failures": 2}
    ]


def test_what_a_killed_process_has_stored_is_removed_with_its_job(edge: Edge, db, sandbox):
    """It was killed between an upload and the note of it: an object without a row, public, for good."""
    db.execute("select pause_queue('download-image')")
    generation_id = start(edge, num_outputs=3, prompt="a cat")
    until(db, "select count(*) from job_queue where job_type = 'download-image'", 1)
    path = f"{edge.user_id}/{generation_id}-2.webp"
    uploaded = edge.client.post(
        f"{edge.url}/storage/v1/object/generated-images/{path}",
        content=b"RIFF",
        headers={
            "Authorization": f"Bearer {edge.service_role_key}",
            "Content-Type": "image/webp",
        },
    )
    assert uploaded.status_code == 200, uploaded.text
    db.execute("update job_queue set attempt_number = 1 where job_type = 'download-image'")
    assert edge.call("DELETE", f"start-generation/{generation_id}").status_code == 200
    until(db, "select count(*) from storage.objects", 0)
