"""Models by any name: the table, the catalogue, Replicate; refused when nobody knows them, and said why."""

import json
from pathlib import Path

import httpx
import pytest

from functions._local.defaults import SANDBOX_TOKEN
from functions._shared.image_models.catalog import CATALOG
from functions._shared.image_models.schema_reader import read_schema
from scripts import models as models_script
from tests.conftest import Edge
from tests.help import start, until_ended

PROMPT = {"prompt": "a cat"}
TEXT = {"type": "string"}


def data(model="someone/new-model", **change):
    """A model as a schema file has it."""
    return {
        "model": model,
        "official": True,
        "version": None,
        "input": {
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "prompt": {"type": "string"},
                "aspect_ratio": {"type": "string", "enum": ["1:1", "16:9"], "default": "1:1"},
                "num_outputs": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
                "seed": {"type": "integer"},
            },
        },
        "output": {"shape": "array-of-uri", "format_default": "png"},
        **change,
    }


@pytest.mark.parametrize(
    "properties",
    [{f"p{n}": {"type": "number", "description": "closely " * 100} for n in range(257)}, {"aA" * 101: TEXT}],
    ids=["many", "a long name"],
)  # fmt: skip
def test_a_schema_of_a_size_to_hold_the_gil_is_refused(properties):
    """Anybody may publish a model; each property is read by dozens of patterns, and its name in linear time."""
    with pytest.raises(ValueError, match="too many properties, or too long names"):
        read_schema({"type": "object", "properties": {"prompt": TEXT, **properties}})


def refusal(edge: Edge, model_id: str, db) -> str:
    answer = edge.post("start-generation", {**PROMPT, "model_id": model_id})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 0}
    return answer.json()["error"]


def test_a_model_nobody_knows_is_refused_with_the_nearest_names(idle_edge: Edge, db, sandbox):
    assert refusal(idle_edge, "black-forest-labs/flux-schnel", db) == (
        "Unknown model black-forest-labs/flux-schnel, perhaps black-forest-labs/flux-schnell,"
        " black-forest-labs/flux-dev, black-forest-labs/flux-2-dev"
    )
    assert refusal(idle_edge, "no/such-thing-at-all", db).startswith("Unknown model no/such-thing")
    refusal(idle_edge, "no/such-thing-at-all", db)
    assert sandbox.state.calls["model"] == 2, "asked once each, then remembered"


def test_a_moved_model_is_followed_to_its_new_name(edge: Edge, db, sandbox):
    sandbox.state.add_model(data("acme/new"))
    sandbox.state.moved["acme/old"] = "acme/new"
    assert until_ended(edge, start(edge, model_id="acme/old"))["status"] == "completed"
    [prediction] = sandbox.state.predictions.values()
    assert prediction.model.id == "acme/new"
    # A model that moves once it is known here: the create is redirected, and made once.
    sandbox.state.add_model(data("acme/newest"))
    sandbox.state.moved["acme/new"] = "acme/newest"
    assert until_ended(edge, start(edge, model_id="acme/new"))["status"] == "completed"
    assert [one.model.id for one in sandbox.state.predictions.values()] == [
        "acme/new",
        "acme/newest",
    ]


def test_a_closed_and_an_unpublished_model_say_so(idle_edge: Edge, db, sandbox):
    for model_id in ("acme/closed", "acme/draft"):
        sandbox.state.add_model(data(model_id))
    sandbox.state.closed.add("acme/closed")
    sandbox.state.unpublished.add("acme/draft")
    assert refusal(idle_edge, "acme/closed", db) == (
        "Model acme/closed is not open to this server's Replicate account"
    )
    assert refusal(idle_edge, "acme/draft", db) == "acme/draft has no published version"


@pytest.mark.parametrize(
    "model_id", ["no slash", "a/b/c", "../predictions", "a/..", "a/b?c", "https://a/b"]
)
def test_what_cannot_be_a_name_is_not_even_asked_for(idle_edge: Edge, db, sandbox, model_id):
    assert refusal(idle_edge, model_id, db).startswith("Unknown model")
    assert sandbox.state.calls["model"] == 0


def test_a_model_of_replicates_is_read_once_and_served_from_the_table(start_edge, db, sandbox):
    sandbox.state.add_model(data())
    edge = start_edge()
    generation = until_ended(
        edge, started(edge, "Someone/New-Model", width=1920, height=1080, num_outputs=2)
    )
    assert (generation["status"], len(generation["images"])) == ("completed", 2)
    assert generation["model"] == "new-model"
    [prediction] = sandbox.state.predictions.values()
    assert (prediction.input["aspect_ratio"], prediction.input["num_outputs"]) == ("16:9", 2)
    row = db.execute("select * from models where replicate_id = 'someone/new-model'").fetchone()
    assert (row["version"], row["max_outputs"], row["aspect_ratios"]) == (None, 4, ["1:1", "16:9"])
    assert (row["supports_seed"], row["supports_steps"], row["is_active"]) == (True, False, True)
    assert row["fetched_at"] is not None
    other = start_edge()
    started(other, "someone/new-model")
    assert sandbox.state.calls["model"] == 1


def started(edge: Edge, model_id: str, **fields) -> str:
    return start(edge, **{"model_id": model_id, "width": None, "height": None, **fields})


def test_a_community_model_is_sent_by_its_version(edge: Edge, db, sandbox):
    sandbox.state.add_model(data("someone/community", official=False, version="ab" * 32))
    assert until_ended(edge, started(edge, "someone/community"))["status"] == "completed"
    [prediction] = sandbox.state.predictions.values()
    assert prediction.version == "ab" * 32


def test_owner_name_and_hash_is_that_version(edge: Edge, db, sandbox):
    version = sandbox.state.models["stability-ai/sdxl"].version
    generation = until_ended(edge, started(edge, f"stability-ai/sdxl:{version}", width=512))
    assert (generation["status"], generation["model"]) == ("completed", "SDXL")
    payload = db.execute("select payload from job_queue limit 1").fetchone()["payload"]
    assert (payload["model_id"], payload["model_version"]) == ("stability-ai/sdxl", version)


@pytest.mark.parametrize("version", ["", "zz", "AB" * 32, "ab" * 31])
def test_a_version_that_is_none_is_refused(idle_edge: Edge, db, version):
    assert "a version has 64 hexadecimal digits" in refusal(
        idle_edge, f"qwen/qwen-image:{version}", db
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"input": {"type": "object", "properties": {"image": {"type": "string"}}}},
            "someone/new-model takes no text prompt",
        ),
        (
            {"output": {"shape": "text", "format_default": "png"}},
            "someone/new-model makes no pictures",
        ),
        (
            {
                "input": {
                    "type": "object",
                    "required": ["key"],
                    "properties": {"prompt": TEXT, "key": {**TEXT, "format": "password"}},
                }
            },
            "someone/new-model requires 'key': a request cannot carry it",
        ),
    ],
)
def test_a_model_that_can_make_no_picture_of_a_prompt_is_refused(
    idle_edge, db, sandbox, monkeypatch, change, text
):
    sandbox.state.add_model(data(**change))
    if "output" in change:
        model = sandbox.state.models["someone/new-model"]
        shown = model.as_json()
        shown["latest_version"]["openapi_schema"]["components"]["schemas"]["Output"] = {
            "type": "string"
        }
        monkeypatch.setattr(type(model), "as_json", lambda _: shown)
    assert refusal(idle_edge, "someone/new-model", db) == text
    assert (
        db.execute("select 1 from models where replicate_id = 'someone/new-model'").fetchone()
        is None
    )


def test_what_no_field_means_is_asked_for_in_input(start_edge, db, sandbox):
    properties = {"prompt": TEXT, "structure": {"type": "string", "enum": ["canny", "hough"]}}
    schema = {"type": "object", "required": ["structure"], "properties": properties}
    sandbox.state.add_model(data(input=schema))
    edge = start_edge()
    assert refusal(edge, "someone/new-model", db) == (
        "someone/new-model requires 'structure': send it in input"
    )
    own = {"structure": "hough"}
    generation = until_ended(edge, started(edge, "someone/new-model", input=own))
    assert generation["status"] == "completed"
    [prediction] = sandbox.state.predictions.values()
    assert prediction.input["structure"] == "hough"


@pytest.mark.parametrize(
    "model_id",
    [
        "https://replicate.com/qwen/qwen-image",
        "https://replicate.com/qwen/qwen-image/api?x=1#top",
        "replicate.com/qwen/qwen-image/",
        " HTTPS://www.Replicate.com/qwen/qwen-image/playground ",
    ],
)
def test_a_models_page_is_its_address(idle_edge: Edge, db, model_id):
    assert idle_edge.post("start-generation", {**PROMPT, "model_id": model_id}).status_code == 200
    payload = db.execute("select payload from job_queue").fetchone()["payload"]
    assert payload["model_id"] == "qwen/qwen-image"
    assert "model_version" not in payload


def test_the_page_of_a_version_pins_it(idle_edge: Edge, db, sandbox):
    version = sandbox.state.models["stability-ai/sdxl"].version
    page = f"https://replicate.com/stability-ai/sdxl/versions/{version}"
    assert idle_edge.post("start-generation", {**PROMPT, "model_id": page}).status_code == 200
    payload = db.execute("select payload from job_queue").fetchone()["payload"]
    assert (payload["model_id"], payload["model_version"]) == ("stability-ai/sdxl", version)
    assert "a version has 64" in refusal_of(idle_edge, page[:-1])


def refusal_of(edge: Edge, model_id: str) -> str:
    answer = edge.post("start-generation", {**PROMPT, "model_id": model_id})
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_a_deployment_is_called_by_its_own_route(start_edge, db, sandbox):
    sandbox.state.add_model(data("someone/community", official=False, version="ab" * 32))
    sandbox.state.deployments["acme/good"] = "someone/community"
    edge = start_edge()
    generation = until_ended(
        edge, started(edge, "deployments/acme/good", width=1920, height=1080, model_version="x")
    )
    assert generation["status"] == "completed"
    [prediction] = sandbox.state.predictions.values()
    assert (prediction.version, prediction.input["aspect_ratio"]) == ("ab" * 32, "16:9")
    row = db.execute(
        "select replicate_id, version from models where version is not null"
    ).fetchone()
    assert row == {"replicate_id": "deployments/acme/good", "version": "ab" * 32}
    recorded = db.execute("select model, version from predictions").fetchone()
    assert recorded == {"model": "deployments/acme/good", "version": "ab" * 32}


@pytest.mark.parametrize(
    ("model_id", "text"),
    [
        ("deployments/acme/none", "Unknown model deployments/acme/none"),
        ("deployments/../predictions", "Unknown model deployments/../predictions"),
        (f"deployments/acme/flux-schnell:{'ab' * 32}", "a deployment has a version of its own"),
        ("https://replicate.com/deployments/acme/none", "Unknown model deployments/acme/none"),
    ],
)
def test_a_deployment_that_is_none_is_refused(idle_edge: Edge, db, sandbox, model_id, text):
    assert text in refusal(idle_edge, model_id, db)


def test_the_sandbox_refuses_a_version_beside_a_deployment(sandbox):
    url = f"{sandbox.url}/deployments/acme/flux-schnell"
    headers = {"Authorization": f"Bearer {SANDBOX_TOKEN}"}
    release = httpx.get(url, headers=headers).json()["current_release"]
    assert release["model"] == "black-forest-labs/flux-schnell"
    body = {"version": release["version"], "input": PROMPT}
    answer = httpx.post(f"{url}/predictions", json=body, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (422, "Input validation failed")
    assert httpx.get(f"{url}-2", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "output", [{"title": "Output"}, {"type": "array", "items": {}, "title": "Output"}, None]
)
def test_an_output_of_any_type_is_tried(start_edge, db, sandbox, monkeypatch, output):
    sandbox.state.add_model(data())
    model = sandbox.state.models["someone/new-model"]
    shown = model.as_json()
    shown["latest_version"]["openapi_schema"]["components"]["schemas"]["Output"] = output
    monkeypatch.setattr(type(model), "as_json", lambda _: shown)
    edge = start_edge()
    assert until_ended(edge, started(edge, "someone/new-model"))["status"] == "completed"


def shown_as(monkeypatch, sandbox, change):
    """The sandbox tells of a model in a document that ``change`` has had its way with."""
    sandbox.state.add_model(data())
    model = sandbox.state.models["someone/new-model"]
    shown = model.as_json()
    replaced = change(shown)
    shown = replaced if isinstance(replaced, list) else shown
    monkeypatch.setattr(type(model), "as_json", lambda _: shown)


def schemas(shown):
    return shown["latest_version"]["openapi_schema"]["components"]["schemas"]


# What somebody may publish, or a broken answer be: how it is refused, or None where the model is served all the same.
ODD = {
    "no object": (lambda _: [1], "Unknown model someone/new-model (Replicate's answer was not"),
    "no version": (
        lambda s: s.update(latest_version=None),
        "someone/new-model has no published version",
    ),
    "a list of versions": (
        lambda s: s.update(latest_version=["x"]),
        "someone/new-model has no published version",
    ),
    "components are a list": (
        lambda s: s["latest_version"]["openapi_schema"].update(components=[1]),
        "someone/new-model: its input schema cannot be read",
    ),
    "an odd version": (
        lambda s: (s.update(is_official=False), s["latest_version"].update(id="../\0")),
        "someone/new-model: its version cannot be read",
    ),
    "a path for a name": (lambda s: s.update(owner="..", name=["x\0"]), None),
    "NUL and half a pair": (
        lambda s: schemas(s)["Input"]["properties"]["seed"].update(description="\0\ud83d"),
        None,
    ),
    "numbers beyond any": (
        lambda s: schemas(s)["Input"]["properties"].update(
            width={"type": "integer", "default": 10**30, "maximum": 10**400},
            height={"type": "integer", "default": [1], "maximum": 1e308},
            steps={"type": "number", "default": "\0", "maximum": 1e308},
            guidance={"type": "number", "default": float("nan")},
        ),
        None,
    ),
    "a pattern that backtracks": (
        lambda s: schemas(s)["Input"]["properties"].update(
            width={"type": "string", "pattern": "^(a+)+$"}
        ),
        None,
    ),
    "a well": (
        lambda s: schemas(s)["Input"]["properties"].update(
            other={"type": "array", "default": "[the depth of a well]"}
        ),
        None,
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_whatever_is_published_is_refused_in_words_or_served(
    edge: Edge, db, sandbox, monkeypatch, odd
):
    change, text = ODD[odd]
    shown_as(monkeypatch, sandbox, change)
    if text:
        assert refusal(edge, "someone/new-model", db).startswith(text)
        return
    id = started(edge, "someone/new-model", num_inference_steps=3)
    generation = until_ended(edge, id)
    assert (generation["status"], generation["error_message"]) == ("completed", None)
    row = db.execute("select * from models where replicate_id = 'someone/new-model'").fetchone()
    assert row["fetched_at"] is not None
    assert row["default_steps"] is None
    assert row["default_guidance_scale"] is None
    assert row["name"] == "new-model"


def test_a_model_that_wants_a_key_of_ones_own_is_refused_up_front(idle_edge: Edge, db):
    assert "openai_api_key" in refusal(idle_edge, "openai/gpt-image-1", db)
    row = db.execute(
        "select is_active from models where replicate_id = 'openai/gpt-image-1'"
    ).fetchone()
    assert row == {"is_active": False}


def test_an_alias_in_any_case_is_the_model(idle_edge: Edge, db):
    started(idle_edge, "Google-DeepMind/Imagen-4-Fast")
    row = db.execute("select model from image_generations").fetchone()
    assert row == {"model": "Imagen 4 Fast"}
    payload = db.execute("select payload from job_queue").fetchone()["payload"]
    assert payload["model_id"] == "google/imagen-4-fast"


def test_an_operators_word_in_the_table_comes_first(start_edge, db, sandbox):
    db.execute("update models set is_active = false where replicate_id = 'google/imagen-4'")
    db.execute(
        "update models set retired_reason = 'too dear' where replicate_id = 'google/imagen-4-ultra'"
    )
    db.execute(
        "update models set aliases = aliases || '{house-model}' where replicate_id = 'qwen/qwen-image'"
    )
    schema = {"properties": {"prompt": {"type": "string", "maxLength": 3}}}
    db.execute(
        "update models set input_schema = %s where replicate_id = 'black-forest-labs/flux-schnell'",
        (json.dumps(schema),),
    )
    edge = start_edge()
    assert (
        refusal(edge, "imagen-4", db)
        == "Model google/imagen-4 is not available: it is switched off"
    )
    assert refusal(edge, "imagen-4-ultra", db).endswith("not available: too dear")
    generation = until_ended(edge, started(edge, "black-forest-labs/flux-schnell"))
    assert "prompt: asked 5 characters, sent 3" in generation["adjustments"]
    [prediction] = sandbox.state.predictions.values()
    assert prediction.input["prompt"] == "a c"
    started(edge, "house-model")


def test_without_replicate_an_unknown_model_is_refused_and_a_known_one_is_not(
    start_edge, db, monkeypatch
):
    monkeypatch.setattr("functions._shared.provider.replicate.PAUSES_S", (0.01, 0.02))
    edge = start_edge(REPLICATE_API_URL="http://127.0.0.1:1/v1")
    assert "Replicate is not reachable" in refusal(edge, "someone/new-model", db)
    started(edge, "flux-schnell")


def test_without_the_table_the_catalogue_serves(start_edge, db):
    edge = start_edge()
    db.execute("alter table models rename to gone")
    answer = edge.post(
        "process-generation", {**PROMPT, "model_id": "flux-schnell"}, edge.service_role_key
    )
    assert answer.status_code == 200


def test_clients_read_the_models(idle_edge: Edge, db):
    db.execute("set role anon")
    rows = db.execute("select * from models where is_active").fetchall()
    assert len(rows) == 30
    schnell = next(row for row in rows if row["replicate_id"] == "black-forest-labs/flux-schnell")
    assert schnell["name"] == "FLUX Schnell"
    assert (schnell["default_width"], schnell["default_steps"]) == (1024, 4)
    assert "16:9" in schnell["aspect_ratios"]
    assert schnell["output_formats"] == ["webp", "png", "jpeg"]
    assert (schnell["supports_seed"], schnell["supports_negative_prompt"]) == (True, False)


@pytest.mark.parametrize("model", CATALOG.values(), ids=lambda model: model.replicate_id)
def test_the_defaults_of_a_shipped_model_are_valid(model):
    """They are not validated at the start."""
    assert [key for key, value in model.defaults.items() if not model.takes(key, value)] == []


def test_the_seed_in_sql_is_the_catalogue(capsys):
    assert models_script.main(["seed"]) == 0
    committed = Path(models_script.__file__).parent.parent / "sql" / "14_models_seed.sql"
    assert capsys.readouterr().out == committed.read_text("utf-8")


@pytest.fixture
def script(environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return lambda arguments: models_script.main(["--local", *arguments])


def test_the_script_lists_adds_refreshes_and_tries(script, db, sandbox, capsys):
    assert script(["list"]) == 0
    assert "black-forest-labs/flux-schnell" in capsys.readouterr().out
    sandbox.state.add_model(data())
    assert script(["add", "someone/new-model"]) == 0
    assert json.loads(capsys.readouterr().out)["aspect_ratios"] == ["1:1", "16:9"]
    assert script(["refresh"]) == 0
    assert capsys.readouterr().out == "someone/new-model: as it was\n"
    sandbox.state.change_schema("someone/new-model", {"properties": {"prompt": {"type": "string"}}})
    assert script(["refresh", "someone/new-model"]) == 0
    assert capsys.readouterr().out == "someone/new-model: changed\n"
    assert script(["try", "flux-schnell", '{"width": 1920, "height": 1080}']) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["valid"], answer["input"]["aspect_ratio"]) == (True, "16:9")
    assert answer["adjustments"] == ["size: asked 1920x1080, sent aspect_ratio 16:9, megapixels 1"]
    del sandbox.state.models["someone/new-model"]
    assert script(["refresh"]) == 0
    row = db.execute("select retired_reason from models where replicate_id = 'someone/new-model'")
    assert row.fetchone() == {"retired_reason": "Replicate no longer has it"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "no/such"],
        ["refresh", "no/such"],
        ["try", "no/such"],
        ["try", "flux-dev", "{"],
        ["try", "flux-dev", '{"width": 1}'],
    ],
)
def test_the_script_says_what_is_wrong_in_one_line(script, db, sandbox, capsys, arguments):
    assert script(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_the_real_openapi_form_with_references_is_understood(sandbox):
    """What the sandbox serves has each enumeration behind a reference, as Replicate has."""
    answer = httpx.get(
        f"{sandbox.url}/models/black-forest-labs/flux-schnell",
        headers={"Authorization": "Bearer r8_sandbox"},
    ).json()
    schemas = answer["latest_version"]["openapi_schema"]["components"]["schemas"]
    assert schemas["Input"]["properties"]["aspect_ratio"]["allOf"] == [
        {"$ref": "#/components/schemas/aspect_ratio"}
    ]
    assert "16:9" in schemas["aspect_ratio"]["enum"]
