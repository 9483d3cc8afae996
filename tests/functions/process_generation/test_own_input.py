"""The ``input`` object of a request: checked by the model's schema, over what the other fields would send."""

import json

import pytest

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import find_model
from functions._shared.image_models.describe import is_secret
from functions._shared.web.bodies import validate
from functions.process_generation.inputs import BuiltInput, build_input
from tests.conftest import Edge
from tests.functions.process_generation.test_source_images import SMALL, reference
from tests.help import start, until_ended

SDXL = "stability-ai/sdxl"
PICTURE = "https://example.com/a.png"
METADATA = "http://169.254.169.254/latest"


def built(model_id: str, **fields: object) -> BuiltInput:
    body = {"prompt": "a cat", "model_id": model_id, **fields}
    model = find_model(model_id)
    assert model is not None
    return build_input(validate(GenerationRequest, body), model, new_seed=lambda: 4)


def test_it_is_sent_beside_and_over_the_other_fields():
    answer = built(
        "flux-dev",
        seed=1,
        guidance_scale=7.5,
        num_outputs=3,
        output_format="png",
        input={"go_fast": False, "seed": 2, "output_format": "jpg", "num_outputs": 1},
    )
    assert answer.input["go_fast"] is False
    assert (answer.input["seed"], answer.input["guidance"]) == (2, 7.5)
    assert (answer.input["output_format"], answer.input["num_outputs"]) == ("jpg", 1)
    assert answer.adjustments == (
        "seed: seed of input is sent instead",
        "num_outputs: num_outputs of input is sent instead",
        "output_format: output_format of input is sent instead",
    )


def test_its_prompt_goes_to_the_model():
    assert built("flux-dev", input={"prompt": "another"}).input["prompt"] == "another"


def test_its_size_is_the_size():
    sized = built("flux-1.1-pro", width=512, height=512, input={"aspect_ratio": "3:2"})
    assert sized.input["aspect_ratio"] == "3:2"
    assert "width" not in sized.input
    assert sized.adjustments == ("size: aspect_ratio of input is sent instead",)
    unasked = built("nano-banana", input={"aspect_ratio": "3:2", "image_input": [PICTURE]})
    assert (unasked.input["aspect_ratio"], unasked.adjustments) == ("3:2", ())


def test_its_picture_is_a_source():
    answer = built("flux-dev", strength=0.4, input={"image": PICTURE})
    assert (answer.input["prompt_strength"], answer.adjustments) == (0.4, ())


def test_it_carries_what_no_field_means():
    """ideogram's image counts with a mask only, so source_image_url is not sent; input may hold both."""
    own = {"image": PICTURE, "mask": PICTURE}
    answer = built("ideogram-v3-turbo", input=own)
    assert answer.input.items() >= own.items()


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"lora": 1}, "input.lora: black-forest-labs/flux-dev has no such input. It has prompt, "),
        ({"seed": "7"}, "input.seed: must be of type integer"),
        ({"go_fast": "yes"}, "input.go_fast: must be of type boolean"),
        ({"num_outputs": 5}, "input.num_outputs: must be at most 4"),
        ({"guidance": -1}, "input.guidance: must be at least 0"),
        ({"megapixels": "9"}, 'input.megapixels: must be one of "1", "0.25"'),
        ({"image": ["a"]}, "input.image: must be of type string"),
        ({"prompt": None}, "input.prompt: must be of type string"),
        ({f"k{n}": n for n in range(101)}, "input: "),
        ({"prompt": "x" * 40_000}, "input: must have at most 32768 bytes, data: URIs apart"),
        ({"prompt": {"a": [[[[[[[[[1]]]]]]]]]}}, "input: must not be nested deeper than 8"),
        ({"prompt": json.loads("[" * 900 + "]" * 900)}, "input: must not be nested deeper than 8"),
        ({"guidance": float("inf")}, "input: must hold numbers up to 2^64 only"),
        ({"guidance": float("nan")}, "input: must hold numbers up to 2^64 only"),
        ({"seed": 10**4000}, "input: must hold numbers up to 2^64 only"),
        *(({"image": address}, "input.image: must be an http(s) address or a data: URI")
          for address in ("file:///etc/passwd", "ftp://10.0.0.1/a", "//10.0.0.1/a", " http://10.0.0.1/", "h\nttp://a/")),
        ({"prompt": "\0"}, "input: must not contain NUL or unpaired surrogates"),
        ({"\ud800": 1}, "input: must not contain NUL or unpaired surrogates"),
        ({"image": reference("data:x")}, "input: image must be an address or a picture"),
        ({"prompt": "data:image/png;base64,AAAA"}, "input.prompt: must be a URL, as it takes no picture"),
        ([1], "input: Input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_what_the_model_does_not_take_is_named(own, text):
    with pytest.raises(InvalidRequest) as refused:
        built("flux-dev", input=own)
    assert str(refused.value).startswith(text)


def test_credentials_are_not_taken():
    with pytest.raises(InvalidRequest, match=r"input\.openai_api_key: credentials are not taken"):
        built("openai/gpt-image-1.5", input={"openai_api_key": "sk-1"})


def test_credentials_are_known_by_their_names_too():
    """Models before Cog's Secret declare them as plain text; tokens of a text are none."""
    text = {"type": "string"}
    for key in (
        "hf_token",
        "api_key",
        "huggingface_access_token",
        "jwtToken",
        "aws_secret_access_key",
        "token",
    ):
        assert is_secret(key, text), key
    for key in (
        "max_tokens",
        "suppress_tokens",
        "token_string",
        "class_token",
        "keyframe",
        "prompt",
    ):
        assert not is_secret(key, text), key
    assert not is_secret("token", {"type": "integer"})


def test_a_prompt_may_begin_like_a_data_uri():
    text = "Data: the android, at the helm"
    assert built("flux-dev", input={"prompt": text}).input["prompt"] == text


def test_a_scheme_in_capitals_is_read(idle_edge: Edge, sandbox):
    own = {"image": SMALL.replace("data:", "DATA:")}
    body = {"prompt": "x", "model_id": SDXL, "input": own}
    answer = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert answer.status_code == 200, answer.text
    [prediction] = sandbox.state.predictions.values()
    assert prediction.input["image"].startswith("data:image/png;base64,")


def test_a_deep_body_is_refused(idle_edge: Edge):
    for field in ("input", "prompt", "other"):
        raw = (
            f'{{"prompt": "x", "model_id": "flux-dev", "{field}": '
            + '{"a":' * 900
            + "1"
            + "}" * 901
        )
        for headers in ({}, {"Idempotency-Key": "k"}):
            answer = idle_edge.call("POST", "start-generation", content=raw, headers=headers)
            assert answer.status_code in {200, 400}, (field, answer.text)


def test_it_goes_through_the_queue_with_its_pictures_kept_once(edge: Edge, db, sandbox):
    own = {"mask": SMALL, "image": SMALL, "refine": "no_refiner"}
    generation = until_ended(
        edge, start(edge, model_id=SDXL, width=None, height=None, input=own, lora_scale=0.5)
    )
    assert generation["status"] == "completed", generation
    assert generation["adjustments"] == [
        "lora_scale: not a field of a request; what the model itself takes goes into input"
    ]
    [prediction] = sandbox.state.predictions.values()
    assert prediction.input["refine"] == "no_refiner"
    assert prediction.input["mask"].startswith("data:image/png;base64,")
    assert "width" not in prediction.input or prediction.input["width"] == 1024
    payloads = db.execute("select payload -> 'input' as own from job_queue where payload ? 'input'")
    assert [row["own"]["mask"] for row in payloads] == [reference(SMALL)]
    recorded = db.execute("select input from predictions").fetchone()["input"]
    assert recorded["image"] == reference(SMALL)
    assert SMALL not in json.dumps(recorded)
    kept = db.execute("select count(*) as n from source_images").fetchone()
    assert kept == {"n": 1}


def test_its_pictures_outlive_a_purge_while_a_job_needs_them(idle_edge: Edge, db):
    start(idle_edge, model_id=SDXL, input={"mask": SMALL, "image": PICTURE})
    db.execute("update source_images set kept_at = kept_at - interval '2 hours'")
    db.execute("select purge_jobs('0 s')")
    assert db.execute("select reference from source_images").fetchone()["reference"] == reference(
        SMALL
    )
    db.execute("select cancel_generation(id) from image_generations")
    db.execute("select purge_jobs('0 s')")
    assert db.execute("select count(*) as n from source_images").fetchone() == {"n": 0}


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"image": METADATA}, "input.image: "),
        ({"mask": "http://127.0.0.1:1/a.png"}, "input.mask: "),
        ({"no_such": 1}, "input.no_such: stability-ai/sdxl has no such input"),
    ],
)
def test_an_address_in_it_is_refused_as_a_sources_is(idle_edge: Edge, db, sandbox, own, text):
    body = {"prompt": "x", "model_id": SDXL, "input": own}
    for function, token in (
        ("start-generation", ""),
        ("generate-image", ""),
        ("process-generation", idle_edge.service_role_key),
    ):
        answer = idle_edge.post(function, body, token)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), answer.text
        assert answer.json()["error"].startswith(text)
    assert not sandbox.state.predictions
    assert db.execute("select count(*) as n from job_queue").fetchone() == {"n": 0}


def test_other_addresses_are_checked_and_passed_on(idle_edge: Edge, sandbox):
    """Weights are the provider's to fetch; an address within our network is none that it could."""
    document = sandbox.state.models["qwen/qwen-image"]
    properties = {**document.properties, "lora_weights": {"type": "string"}}
    sandbox.state.add_model(
        {
            "model": "acme/lora",
            "official": True,
            "version": None,
            "input": {**document.input_schema, "properties": properties},
            "output": {"shape": "array-of-uri", "format_default": "webp"},
        }
    )
    body = {"prompt": "x", "model_id": "acme/lora", "input": {"lora_weights": METADATA}}
    key = idle_edge.service_role_key
    refused = idle_edge.post("process-generation", body, key)
    assert (refused.status_code, refused.json()["error"][:19]) == (400, "input.lora_weights:")
    for weights in ("https://example.com/x.safetensors", "acme/weights"):
        body["input"] = {"lora_weights": weights}
        assert idle_edge.post("process-generation", body, key).status_code == 200
    sent = [one.input["lora_weights"] for one in sandbox.state.predictions.values()]
    assert sent == ["https://example.com/x.safetensors", "acme/weights"]
