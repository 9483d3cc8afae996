"""start-generation over HTTP: accepted requests and their responses; refused ones, which write nothing."""

import json

import pytest

from tests.conftest import Edge
from tests.help import BODY


def count(db) -> int:
    row = db.execute(
        "select (select count(*) from image_generations) + (select count(*) from job_queue) as n"
    ).fetchone()
    return row["n"]


def test_it_answers_with_both_ids(idle_edge: Edge, db):
    answer = idle_edge.post("start-generation", {**BODY, "seed": 0, "something_else": 1})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    ids = answer.json()
    job = db.execute("select * from job_queue").fetchone()
    assert str(job["id"]) == ids["job_id"]
    assert str(job["created_by"]) == idle_edge.user_id
    assert job["payload"]["generation_id"] == ids["generation_id"]
    assert job["payload"]["seed"] == 0


def test_a_trailing_slash_is_no_redirect(idle_edge: Edge):
    assert idle_edge.post("start-generation/", BODY).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain;charset=UTF-8", "application/json; charset=utf-8", ""]
)
def test_json_counts_whatever_its_content_type_says(idle_edge: Edge, content_type):
    answer = idle_edge.post(
        "start-generation", content=json.dumps(BODY), headers={"content-type": content_type}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        pytest.param("{not json", 400, "not valid JSON", id="not JSON"),
        pytest.param(b"\xff\xfe\x00", 400, "not valid JSON", id="not text"),
        pytest.param("[1]", 400, "must be a JSON object", id="an array"),
        pytest.param('"text"', 400, "must be a JSON object", id="a string"),
        pytest.param("null", 400, "must be a JSON object", id="null"),
        pytest.param("[" * 200_000, 400, "not valid JSON", id="nested too deep"),
        pytest.param('{"prompt": NaN}', 400, "not valid JSON", id="NaN"),
        pytest.param("", 400, "The request has no body: Prompt is required", id="no body"),
        pytest.param("{}", 400, "Prompt is required; Model ID is required", id="an empty object"),
        pytest.param("x" * (1024 * 1024 + 1), 413, "1024 KiB", id="over 1 MiB"),
    ],
)
def test_a_body_that_is_none(idle_edge: Edge, db, content, status, text):
    answer = idle_edge.post("start-generation", content=content)
    assert answer.status_code == status
    assert text in answer.json()["error"]
    assert count(db) == 0


def test_an_endless_body_is_cut_off(idle_edge: Edge, db):
    answer = idle_edge.post("start-generation", content=(b" " * 65536 for _ in range(64)))
    assert answer.status_code == 413
    assert count(db) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param({"prompt": None}, "Prompt is required", id="no prompt"),
        pytest.param({"prompt": ""}, "Prompt is required", id="empty prompt"),
        pytest.param({"prompt": " \n "}, "Prompt is required", id="blank prompt"),
        pytest.param({"prompt": 5}, "prompt:", id="prompt a number"),
        pytest.param({"prompt": "x" * 10_001}, "prompt:", id="prompt over 10,000 characters"),
        pytest.param({"prompt": "a\x00b"}, "prompt:", id="NUL in the prompt"),
        pytest.param({"prompt": "\ud800"}, "prompt:", id="half a surrogate pair"),
        pytest.param({"model_id": None}, "Model ID is required", id="no model"),
        pytest.param({"model_id": ""}, "Model ID is required", id="empty model"),
        pytest.param({"model_id": ["a/b"]}, "model_id:", id="model a list"),
        pytest.param({"width": -1}, "width:", id="negative width"),
        pytest.param({"height": 10**9}, "height:", id="huge height"),
        pytest.param({"width": 10**30}, "width:", id="width beyond 64 bits"),
        pytest.param({"width": "1,024"}, "width:", id="width an ambiguous string"),
        pytest.param({"width": True}, "width:", id="width a boolean"),
        pytest.param({"height": 512.5}, "height:", id="half a pixel"),
        pytest.param({"num_inference_steps": 0}, "num_inference_steps:", id="no steps"),
        pytest.param({"guidance_scale": -1}, "guidance_scale:", id="negative guidance"),
        pytest.param({"guidance_scale": 1e999}, "guidance_scale:", id="infinite guidance"),
        pytest.param({"seed": 2**63}, "seed:", id="seed beyond 64 bits"),
        pytest.param({"strength": 1.5}, "strength:", id="strength above 1"),
        pytest.param(
            {"source_image_url": "file:///etc/passwd"}, "source_image_url:", id="a file's address"
        ),
        pytest.param({"style": {"a": 1}}, "style:", id="style an object"),
    ],
)
def test_bad_fields_are_named_and_nothing_is_written(idle_edge: Edge, db, change, text):
    body = {name: value for name, value in {**BODY, **change}.items() if value is not None}
    content = json.dumps(body).replace("Infinity", "1e999")
    answer = idle_edge.post("start-generation", content=content)
    assert answer.status_code == 400
    error = answer.json()
    assert error["error"].startswith(text)
    assert error["code"] == "INVALID_REQUEST"
    assert error["success"] is False
    assert count(db) == 0


def test_several_faults_are_named_together(idle_edge: Edge):
    error = idle_edge.post("start-generation", {"width": 1}).json()["error"]
    assert error.startswith("Prompt is required; Model ID is required; width:")


def test_the_caller_reads_their_generation_and_nobody_else(idle_edge: Edge):
    generation_id = idle_edge.post("start-generation", BODY).json()["generation_id"]
    own = idle_edge.get(f"start-generation/{generation_id}").json()
    assert (own["id"], own["status"], own["images"]) == (generation_id, "queued", [])
    stranger = idle_edge.user_token(sub="99999999-9999-4999-8999-999999999999")
    for path, token in [
        (generation_id, stranger),
        ("11111111-1111-4111-8111-111111111111", ""),
        ("no-uuid", ""),
    ]:
        answer = idle_edge.get(f"start-generation/{path}", token)
        assert (answer.status_code, answer.json()["error"]) == (404, "Generation not found")
    assert idle_edge.get(f"start-generation/{generation_id}", None).status_code == 401
