"""Whatever is asked of whichever model: what is sent is legal, near the wish, and noted if not."""

import itertools
import json
import math
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import (
    CATALOG,
    find_model,
    model_from_schema,
    unknown_model,
)
from functions._shared.web.bodies import validate
from functions.process_generation.draft import UnsupportedModel
from functions.process_generation.inputs import BuiltInput, build_input
from functions.process_generation.words import output_format_of

FILES = resources.files("functions._shared.image_models").joinpath("schemas").iterdir()
FACTS = {facts["model"]: facts for facts in (json.loads(f.read_text("utf-8")) for f in FILES)}
NEEDS_A_KEY = "openai/gpt-image-1"
USABLE = sorted(FACTS.keys() - {NEEDS_A_KEY})
PICTURE = "https://example.com/source.png"
F11 = ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"]


def ask(**fields: Any) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "a cat", "model_id": "any/model", **fields})


def build(model_id: str, **fields: Any) -> BuiltInput:
    model = find_model(model_id)
    assert model is not None
    return build_input(ask(**fields), model, new_seed=lambda: 4)


def outside(properties: dict[str, Any], *required: str, **fields: Any) -> BuiltInput:
    """Built for a schema that the catalogue does not know, with a prompt among its properties."""
    properties = {"prompt": {"type": "string"}, **properties}
    schema = {"type": "object", "properties": properties, "required": list(required)}
    built = build_input(ask(**fields), model_from_schema("any/model", schema), new_seed=lambda: 4)
    refuses(schema).validate(built.input)
    return built


def refuses(schema: dict[str, Any]) -> Draft202012Validator:
    """The schema as its author wrote it, unknown keys refused."""
    return Draft202012Validator({**schema, "additionalProperties": False})


# Every model, every request


SIDES = (64, 65, 333, 512, 768, 1000, 1024, 1365, 1920, 2047, 4096)
OTHERS: list[dict[str, Any]] = [
    {},
    {"width": 777},
    {"height": 1080},
    *({"num_inference_steps": steps} for steps in (1, 4, 5, 30, 50, 1000)),
    *({"guidance_scale": scale} for scale in (0, 0.1, 1, 3.5, 7.5, 20, 99.9, 100)),
    *({"seed": seed} for seed in (0, 1, -1, 2**31 - 1, 2**31, 2**32, -(2**63), 2**63 - 1)),
    *({"strength": s, "source_image_url": PICTURE} for s in (0, 0.1, 0.3, 0.8, 1)),
    {"strength": 0.5},
    {"source_image_url": "data:image/png;base64,AAAA", "width": 900, "height": 1600},
    *({"negative_prompt": text} for text in ("", "blur", "x" * 10_000)),
    *(
        {"style": style}
        for style in ("", "auto", "ANY", "pixel art", "watercolor", "no such thing")
    ),
    {"prompt": "x" * 10_000},
    {
        "width": 1920,
        "height": 1080,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "seed": 0,
        "negative_prompt": "blur",
        "source_image_url": PICTURE,
        "strength": 0.6,
        "style": "realistic",
    },
]
GRID = [{"width": w, "height": h} for w, h in itertools.product(SIDES, SIDES)] + OTHERS


@pytest.mark.parametrize("model_id", USABLE)
def test_what_is_sent_is_legal_and_never_null(model_id: str) -> None:
    validator = refuses(FACTS[model_id]["input"])
    for fields in GRID:
        built = build(model_id, **fields)
        problems = [error.message for error in validator.iter_errors(built.input)]
        assert not problems, fields
        assert None not in built.input.values(), fields
        assert built.input["prompt"] == fields.get("prompt", "a cat")


@pytest.mark.parametrize("model_id", USABLE)
def test_each_wish_is_sent_or_spoken_of(model_id: str) -> None:
    names = {
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "seed": 5,
        "negative_prompt": "blur",
        "source_image_url": PICTURE,
    }
    built = build(model_id, **names)
    sent = [[value] if not isinstance(value, list) else value for value in built.input.values()]
    for name, value in names.items():
        noted = [note for note in built.adjustments if note.startswith(f"{name}: ")]
        assert ([value] in sent) != bool(noted), name


@pytest.mark.parametrize("model_id", USABLE)
def test_nothing_asked_nothing_noted(model_id: str) -> None:
    assert build(model_id).adjustments == ()


@pytest.mark.parametrize("model_id", USABLE)
def test_prompts_are_not_rewritten_and_one_picture_is_made(model_id: str) -> None:
    sent = {**_defaults(model_id), **build(model_id).input}
    assert sent.get("magic_prompt_option", "Off") == "Off"
    assert not any(
        sent.get(key) for key in ("enhance_prompt", "prompt_optimizer", "prompt_upsampling")
    )
    assert all(sent.get(key, 1) == 1 for key in ("num_outputs", "number_of_images", "max_images"))


@pytest.mark.parametrize("model_id", USABLE)
def test_the_default_picture_is_square(model_id: str) -> None:
    sent = {**_defaults(model_id), **build(model_id).input}
    if sent.get("aspect_ratio", "Not set") == "Not set":
        size = sent.get("size", "1024x1024")
        assert size == "1024x1024"
        assert sent.get("width") == sent.get("height")
    else:
        assert sent["aspect_ratio"] == "1:1"


@pytest.mark.parametrize("model_id", USABLE)
@pytest.mark.parametrize(("width", "height"), [(1600, 900), (900, 1600), (1024, 1024), (1200, 800)])
def test_the_picture_has_nearly_the_ratio_asked(model_id: str, width: int, height: int) -> None:
    sent = {**_defaults(model_id), **build(model_id, width=width, height=height).input}
    spelled = sent.get("resolution") if "x" in str(sent.get("resolution")) else None
    if sent.get("aspect_ratio") == "Not set":
        spelled = sent["size"]
    if spelled is None and ("custom" in sent.values() or "aspect_ratio" not in sent):
        spelled = f"{sent['width']}x{sent['height']}"
    across, down = (spelled or sent["aspect_ratio"]).replace("x", ":").split(":")
    coarse = 0.18 if "gpt-image" in model_id else 0.13  # 3:2 is their widest; 4:3 for imagen
    assert abs(math.log(int(across) / int(down) / (width / height))) < coarse


def _defaults(model_id: str) -> dict[str, Any]:
    properties = FACTS[model_id]["input"]["properties"]
    return {key: field["default"] for key, field in properties.items() if "default" in field}


# What a typical client gets wrong, one row a family


WRONG: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    (
        "google/imagen-4-fast",
        {"width": 2100, "height": 900, "seed": 1},
        {"aspect_ratio": "16:9", "output_format": "jpg"},
        ("size: asked 2100x900, sent aspect_ratio 16:9", "seed: not supported by this model"),
    ),
    (
        "ideogram-ai/ideogram-v3-turbo",
        {"style": "auto", "seed": 2**32 - 1, "source_image_url": PICTURE},
        {"style_type": "Auto", "seed": 2**31 - 1, "magic_prompt_option": "Off"},
        (
            "source_image_url: not supported by this model",
            "seed: asked 4294967295, sent 2147483647",
        ),
    ),
    (
        "black-forest-labs/flux-dev",
        {
            "num_inference_steps": 80,
            "guidance_scale": 7.5,
            "width": 1600,
            "height": 900,
            "source_image_url": PICTURE,
            "strength": 0.7,
        },
        {
            "num_inference_steps": 50,
            "guidance": 7.5,
            "aspect_ratio": "16:9",
            "megapixels": "1",
            "image": PICTURE,
            "prompt_strength": 0.7,
            "output_format": "webp",
        },
        (
            "size: asked 1600x900, sent aspect_ratio 16:9, megapixels 1",
            "num_inference_steps: asked 80, sent 50",
        ),
    ),
    (
        "bytedance/sdxl-lightning-4step",
        {"width": 1920, "height": 1080, "guidance_scale": 0, "source_image_url": PICTURE},
        {"width": 1280, "height": 720, "guidance_scale": 0, "seed": 4},
        ("source_image_url: not supported by this model", "size: asked 1920x1080, sent 1280x720"),
    ),
    (
        "stability-ai/sdxl",
        {
            "num_inference_steps": 30,
            "guidance_scale": 0.5,
            "width": 1001,
            "height": 1025,
            "source_image_url": PICTURE,
            "strength": 0.7,
        },
        {
            "num_inference_steps": 30,
            "guidance_scale": 1,
            "width": 1000,
            "height": 1024,
            "image": PICTURE,
            "prompt_strength": 0.7,
            "apply_watermark": False,
        },
        ("size: asked 1001x1025, sent 1000x1024", "guidance_scale: asked 0.5, sent 1"),
    ),
    (
        "bytedance/seedream-4",
        {"width": 768, "height": 512, "source_image_url": PICTURE, "seed": 7},
        {"size": "1K", "aspect_ratio": "3:2", "image_input": [PICTURE], "enhance_prompt": False},
        (
            "size: asked 768x512, sent aspect_ratio 3:2, size 1K",
            "seed: not supported by this model",
        ),
    ),
    (
        "bytedance/seedream-3",
        {"width": 1280, "height": 960, "num_inference_steps": 30, "guidance_scale": 0},
        {"aspect_ratio": "custom", "width": 1280, "height": 960, "guidance_scale": 1},
        (
            "num_inference_steps: not supported by this model",
            "guidance_scale: asked 0, sent 1",
        ),
    ),
    (
        "recraft-ai/recraft-v3-svg",
        {"width": 1536, "height": 1024, "style": "vector_illustration", "seed": 3},
        {"size": "1536x1024"},
        (
            "seed: not supported by this model",
            "style: 'vector_illustration' is not one of this model's styles",
        ),
    ),
    (
        "recraft-ai/recraft-v3",
        {"width": 1280, "height": 720, "style": "Pixel Art"},
        {"size": "1820x1024", "style": "digital_illustration/pixel_art"},
        ("size: asked 1280x720, sent size 1820x1024",),
    ),
    (
        "stability-ai/stable-diffusion-3.5-large",
        {"width": 768, "height": 1024, "guidance_scale": 15, "num_inference_steps": 28},
        {"aspect_ratio": "4:5", "cfg": 10, "output_format": "webp"},
        (
            "size: asked 768x1024, sent aspect_ratio 4:5",
            "num_inference_steps: not supported by this model",
            "guidance_scale: asked 15, sent 10",
        ),
    ),
    (
        "qwen/qwen-image",
        {"guidance_scale": 12, "num_inference_steps": 60},
        {
            "aspect_ratio": "1:1",
            "guidance": 10,
            "num_inference_steps": 50,
            "enhance_prompt": False,
            "output_format": "webp",
        },
        ("num_inference_steps: asked 60, sent 50", "guidance_scale: asked 12, sent 10"),
    ),
    (
        "black-forest-labs/flux-schnell",
        {"num_inference_steps": 30, "guidance_scale": 7.5},
        {"num_inference_steps": 4, "output_format": "webp"},
        ("num_inference_steps: asked 30, sent 4", "guidance_scale: not supported by this model"),
    ),
]


@pytest.mark.parametrize(("model_id", "fields", "sent", "notes"), WRONG, ids=[r[0] for r in WRONG])
def test_what_a_typical_client_gets_wrong(
    model_id: str, fields: dict[str, Any], sent: dict[str, Any], notes: tuple[str, ...]
) -> None:
    built = build(model_id, **fields)
    assert built.input == {"prompt": "a cat", **sent}
    assert built.adjustments == notes


# Sizes


@pytest.mark.parametrize("ratio", F11)
def test_flux_schnell_knows_eleven_ratios(ratio: str) -> None:
    across, down = map(int, ratio.split(":"))
    short = 1024 / min(across, down)
    built = build("flux-schnell", width=round(across * short), height=round(down * short))
    assert built.input["aspect_ratio"] == ratio
    assert built.input["megapixels"] == "1"


@pytest.mark.parametrize(
    ("model_id", "asked", "sent"),
    [
        pytest.param("flux-1.1-pro", (1000, 700), ("custom", 992, 704), id="rounded to 32"),
        pytest.param(
            "flux-1.1-pro", (1440, 256), ("custom", 1440, 256), id="both bounds are legal"
        ),
        pytest.param("flux-1.1-pro", (1920, 1080), ("16:9", None, None), id="too wide: a ratio"),
        pytest.param("flux-2-dev", (1472, 1024), ("custom", 1440, 992), id="unstated bounds"),
        pytest.param("sdxl-lightning", (300, 100), (None, 768, 256), id="grown, ratio kept"),
        pytest.param("sdxl-lightning", (4096, 64), (None, 1280, 256), id="ratio out of reach"),
        pytest.param("z-image-turbo", (1920, 1080), (None, 1920, 1088), id="rounded to 16"),
        pytest.param("sdxl", (640, None), (None, 640, 640), id="one side makes a square"),
        pytest.param("sdxl", (None, None), (None, None, None), id="left to the model"),
    ],
)
def test_width_and_height(
    model_id: str, asked: tuple[int | None, int | None], sent: tuple[str | None, int, int]
) -> None:
    built = build(model_id, width=asked[0], height=asked[1]).input
    assert tuple(built.get(key) for key in ("aspect_ratio", "width", "height")) == sent


@pytest.mark.parametrize(
    ("model_id", "asked", "key", "word"),
    [
        pytest.param("flux-schnell", (512, 512), "megapixels", "0.25", id="a quarter megapixel"),
        pytest.param("flux-schnell", (768, 768), "megapixels", "1", id="twice is as far as half"),
        pytest.param("flux-schnell", (986, 2000), "aspect_ratio", "9:16", id="by logarithm"),
        pytest.param("imagen-4", (2048, 2048), "image_size", "2K", id="K"),
        pytest.param("nano-banana-pro", (4096, 4096), "resolution", "4K", id="more K"),
        pytest.param("seedream-3", (4096, 2304), "size", "big", id="a word"),
        pytest.param("seedream-4", (1024, 1024), "size", "custom", id="custom where in bounds"),
        pytest.param("seedream-4.5", (800, 600), "aspect_ratio", "4:3", id="no custom below"),
        pytest.param("ideogram-v3-turbo", (640, 1536), "resolution", "640x1536", id="listed"),
        pytest.param("nano-banana-2", (4096, 512), "aspect_ratio", "8:1", id="very wide"),
    ],
)
def test_words_for_a_size(model_id: str, asked: tuple[int, int], key: str, word: str) -> None:
    assert build(model_id, width=asked[0], height=asked[1]).input[key] == word


@pytest.mark.parametrize(
    ("model_id", "side"),
    [("flux-schnell", 1024), ("flux-schnell", 512), ("seedream-4", 2048), ("recraft-v3", 1024)],
)
def test_a_size_that_is_met_is_not_noted(model_id: str, side: int) -> None:
    assert build(model_id, width=side, height=side).adjustments == ()


def test_megapixels_are_those_of_the_nearest_count() -> None:
    field = {"enum": ["0.5 MP", "1 MP", "2 MP", "4 MP", "match_input_image"]}
    for side, word in ((600, "0.5 MP"), (1024, "1 MP"), (1450, "2 MP"), (4096, "4 MP")):
        assert outside({"resolution": field}, width=side).input["resolution"] == word


def test_sides_from_a_list_are_the_nearest_of_it() -> None:
    side = {"type": "integer", "enum": [256, 512, 768, 1024]}
    built = outside({"width": side, "height": side}, width=1600, height=800)
    assert (built.input["width"], built.input["height"]) == (1024, 512)


def test_a_ratio_that_would_override_the_sides_is_sent_with_them() -> None:
    sides = {side: {"type": "integer", "maximum": 2048} for side in ("width", "height")}
    ratio = {"enum": ["1:1", "16:9"], "default": "1:1"}
    built = outside({**sides, "aspect_ratio": ratio}, width=1280, height=720)
    assert built.input | {"prompt": ""} == {
        "prompt": "",
        "aspect_ratio": "16:9",
        "width": 1280,
        "height": 720,
    }


@pytest.mark.parametrize(
    ("fields", "ratio"),
    [
        pytest.param({"source_image_url": PICTURE}, "match_input_image", id="as the source"),
        pytest.param({}, "1:1", id="no source to match"),
        pytest.param(
            {"source_image_url": PICTURE, "width": 900, "height": 1600}, "9:16", id="asked"
        ),
    ],
)
def test_the_source_gives_the_ratio_when_no_size_is_asked(fields: Any, ratio: str) -> None:
    assert build("nano-banana", **fields).input["aspect_ratio"] == ratio


@pytest.mark.parametrize(
    ("model_id", "asked", "sent"),
    [
        ("flux-1.1-pro", (2000, 500), (1440, 352)),
        ("flux-1.1-pro", (2000, 800), (1440, 576)),
        ("flux-2-dev", (2000, 500), (1440, 352)),
        ("flux-2-dev", (2000, 800), (1440, 576)),
        ("seedream-3", (2000, 500), (2048, 512)),
        ("seedream-3", (2000, 800), (2000, 800)),
        ("seedream-4", (2000, 500), (4096, 1024)),
        ("seedream-4", (2000, 800), (2560, 1024)),
        ("flux-2-pro", (2000, 500), (1984, 512)),
    ],
)
def test_the_shape_goes_before_the_size(
    model_id: str, asked: tuple[int, int], sent: tuple[int, int]
) -> None:
    built = build(model_id, width=asked[0], height=asked[1])
    assert (built.input["width"], built.input["height"]) == sent
    assert "custom" in built.input.values()
    told = f"size: asked {asked[0]}x{asked[1]}, sent {sent[0]}x{sent[1]}"
    assert built.adjustments == ((told,) if asked != sent else ())


def test_a_listed_ratio_of_the_same_shape_is_preferred_to_a_smaller_custom_size() -> None:
    built = build("flux-1.1-pro", width=1920, height=1080)
    assert (built.input["aspect_ratio"], "width" in built.input) == ("16:9", False)


@pytest.mark.parametrize(
    ("model_id", "fields", "sent", "notes"),
    [
        ("nano-banana", {"aspect_ratio": "match_input_image"}, "match_input_image", ()),
        ("flux-kontext-pro", {"aspect_ratio": "Match Input Image"}, "match_input_image",
         ('aspect_ratio: "Match Input Image" read as match_input_image',)),
        ("flux-dev", {"aspect_ratio": "match_input_image"}, "1:1",
         ("aspect_ratio: not supported by this model",)),
        ("flux-dev", {"aspect_ratio": "auto"}, "1:1", ("aspect_ratio: not supported by this model",)),
        ("flux-1.1-pro", {"aspect_ratio": "custom", "width": 512, "height": 768}, "custom", ()),
        ("flux-1.1-pro", {"aspect_ratio": "custom"}, "1:1",
         ("aspect_ratio: custom needs width and height",)),
    ],
)  # fmt: skip
def test_an_aspect_ratio_in_words(
    model_id: str, fields: dict[str, Any], sent: str, notes: tuple[str, ...]
) -> None:
    model = find_model(model_id)
    assert model is not None
    built = build_input(
        validate(GenerationRequest, {"prompt": "x", "model_id": model_id, **fields}), model
    )
    default = model.properties["aspect_ratio"].get("default")
    assert built.input.get("aspect_ratio", default) == sent
    assert built.adjustments == notes


def test_the_models_word_for_automatic_is_found_however_spelled() -> None:
    ratio = {"enum": ["1:1", "Auto"], "default": "1:1"}
    assert outside({"aspect_ratio": ratio}, aspect_ratio="auto").input["aspect_ratio"] == "Auto"


def test_sides_and_counts_as_texts_and_under_other_names() -> None:
    side = {"enum": ["256", "512", "1024"]}
    built = outside(
        {"image_width": side, "image_height": side, "num_samples": {"enum": ["1", "4"]}},
        width=1000,
        height=500,
        num_outputs=3,
    )
    assert built.input | {"prompt": ""} == {
        "prompt": "",
        "image_width": "1024",
        "image_height": "512",
        "num_samples": "1",
    }
    assert built.adjustments == (
        "size: asked 1000x500, sent 1024x512",
        "num_outputs: asked 3, sent 1",
    )


def test_maxima_bound_a_size_and_set_no_ratio() -> None:
    side = {"type": "integer"}
    properties = {"max_width": side, "max_height": side}
    sized = outside(properties, width=800, height=600)
    assert (sized.input["max_width"], sized.input["max_height"]) == (800, 600)
    assert sized.adjustments == ("size: asked 800x600, sent at most 800x600",)
    assert outside(properties, aspect_ratio="16:9").adjustments == (
        "aspect_ratio: not supported by this model",
    )


def test_a_model_that_doubles_its_sides_is_asked_for_the_half() -> None:
    side = {"enum": [256, 512, 1024], "description": "Final output will double it"}
    built = outside({"ori_width": side, "ori_height": side}, width=1024, height=1024)
    assert (built.input["ori_width"], built.adjustments) == (512, ())


# Seed, strength, style, pictures, text


def test_minus_one_is_a_random_seed_and_told() -> None:
    assert build("flux-dev", seed=-1).input["seed"] == 4
    assert build("flux-dev", seed=-1).adjustments == ("seed: random, sent 4",)
    assert build("imagen-4", seed=-1).adjustments == (), "the model's own seed is random"


def test_a_seed_of_0_that_means_random_is_another_one() -> None:
    random = {"type": "integer", "description": "Seed (0 = random, maximum: 2147483647)"}
    built = outside({"seed": random}, seed=0)
    assert (built.input["seed"], built.adjustments) == (1, ("seed: asked 0, sent 1",))
    fixed = {"type": "integer", "description": "Random seed, from 0"}
    assert outside({"seed": fixed}, seed=0).input["seed"] == 0


@pytest.mark.parametrize(("asked", "sent"), [(1, None), (3, 1), (4, 4), (16, 4)])
def test_no_more_pictures_than_asked(asked: int, sent: int | None) -> None:
    built = outside({"num_outputs": {"enum": [1, 4], "default": 1}}, num_outputs=asked)
    assert built.input.get("num_outputs") in (sent, None)
    made = built.input.get("num_outputs", 1)
    assert made <= asked
    assert bool(built.adjustments) == (made != asked)


def test_the_source_turns_image_to_image_on() -> None:
    properties = {
        "image": {"type": "string", "format": "uri"},
        "strength": {"type": "number", "minimum": 0, "maximum": 1},
        "task": {"enum": ["text2img", "text_guided_img2img"], "default": "text2img"},
    }
    built = outside(properties, source_image_url=PICTURE, strength=0.3)
    assert built.input["task"] == "text_guided_img2img"
    assert "task" not in outside(properties).input


def test_a_required_picture_of_any_name_is_asked_for() -> None:
    face = {"main_face_image": {"type": "string", "format": "uri"}}
    with pytest.raises(UnsupportedModel, match="send source_image_url"):
        outside(face, "main_face_image")
    built = outside(face, "main_face_image", source_image_url=PICTURE)
    assert built.input["main_face_image"] == PICTURE


def test_several_pictures_are_asked_for_by_name() -> None:
    uri = {"type": "string", "format": "uri"}
    built = outside({"canny_image": uri, "depth_image": uri}, source_image_url=PICTURE)
    assert built.adjustments == (
        "source_image_url: the model takes several pictures, and not clearly one as the source: name it in input",
    )


@pytest.mark.parametrize(
    "model_id", ["flux-schnell", "sdxl", "sdxl-lightning", "ideogram-v3-turbo"]
)
def test_zero_is_a_seed(model_id: str) -> None:
    built = build(model_id, seed=0)
    assert built.input["seed"] == 0
    assert built.adjustments == ()


@pytest.mark.parametrize(
    ("limits", "asked", "sent"),
    [
        ({}, -(2**63), -(2**63)),
        ({"minimum": 0}, -2, 2**31 - 2),
        ({"minimum": 0}, 2**40, 2**40),
        ({"maximum": 999}, 1234, 234),
        ({"maximum": 999}, -2, 998),
        ({"minimum": 10, "maximum": 19}, 7, 17),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 100}, 100, 1),
        ({"minimum": 0.2, "maximum": 1.8}, 5, 1),
    ],
)
def test_a_seed_out_of_range_becomes_one_in_range(limits: Any, asked: int, sent: int) -> None:
    built = outside({"seed": {"type": "integer", **limits}}, seed=asked)
    assert built.input["seed"] == sent
    assert built.adjustments == ((f"seed: asked {asked}, sent {sent}",) if asked != sent else ())


def test_a_seed_is_drawn_only_for_the_model_that_needs_one() -> None:
    assert build("sdxl-lightning").input["seed"] == 4
    assert "seed" not in build("sdxl").input
    model = CATALOG["bytedance/sdxl-lightning-4step"]
    assert len({build_input(ask(), model).input["seed"] for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("model_id", "key", "strength", "sent"),
    [
        ("sdxl", "prompt_strength", 0.7, 0.7),
        ("flux-dev", "prompt_strength", 0, 0),
        ("stable-diffusion-3.5-large", "prompt_strength", 1, 1),
        ("qwen-image", "strength", 0.2, 0.2),
        ("flux-1.1-pro-ultra", "image_prompt_strength", 0.7, 0.3),
        ("flux-1.1-pro-ultra", "image_prompt_strength", 0, 1),
    ],
)
def test_strength_1_ignores_the_source(
    model_id: str, key: str, strength: float, sent: float
) -> None:
    built = build(model_id, strength=strength, source_image_url=PICTURE)
    assert built.input[key] == pytest.approx(sent)
    assert built.adjustments == ()


def test_strength_without_a_source_is_not_sent() -> None:
    built = build("sdxl", strength=0.5)
    assert "prompt_strength" not in built.input
    assert built.adjustments == ("strength: has no effect without a source image",)


def test_strength_is_noted_in_the_callers_direction() -> None:
    field = {"type": "number", "minimum": 0.1, "maximum": 0.5}
    properties = {"image_prompt": {"type": "string"}, "image_prompt_strength": field}
    built = outside(properties, strength=0.1, source_image_url=PICTURE)
    assert built.input["image_prompt_strength"] == 0.5
    assert built.adjustments == ("strength: asked 0.1, sent 0.5",)


@pytest.mark.parametrize(
    ("model_id", "style", "key", "word"),
    [
        ("recraft-v3", "Realistic_Image", "style", "realistic_image"),
        ("recraft-v3", "digital illustration", "style", "digital_illustration"),
        ("recraft-v3", "hdr", "style", "realistic_image/hdr"),
        ("recraft-v3-svg", "vector_illustration/line_art", "style", "line_art"),
        ("ideogram-v3-turbo", "realistic", "style_type", "Realistic"),
        ("ideogram-v3-turbo", "art-deco", "style_preset", "Art Deco"),
    ],
)
def test_styles_are_found_however_spelled(model_id: str, style: str, key: str, word: str) -> None:
    built = build(model_id, style=style)
    assert built.input[key] == word
    assert built.adjustments == ()


@pytest.mark.parametrize(
    ("model_id", "key", "value"),
    [
        ("sdxl", "image", PICTURE),
        ("flux-1.1-pro", "image_prompt", PICTURE),
        ("flux-kontext-pro", "input_image", PICTURE),
        ("flux-2-pro", "input_images", [PICTURE]),
        ("seedream-4", "image_input", [PICTURE]),
    ],
)
def test_the_source_goes_where_the_model_looks(model_id: str, key: str, value: object) -> None:
    built = build(model_id, source_image_url=PICTURE)
    assert built.input[key] == value
    assert built.adjustments == ()


@pytest.mark.parametrize("model_id", ["ideogram-v3-turbo", "minimax/image-01", "flux-schnell"])
def test_a_source_that_cannot_be_used_is_noted(model_id: str) -> None:
    built = build(model_id, source_image_url=PICTURE)
    assert PICTURE not in json.dumps(built.input)
    assert built.adjustments == ("source_image_url: not supported by this model",)


def test_an_empty_negative_prompt_replaces_the_models_own() -> None:
    assert build("sdxl-lightning", negative_prompt="").input["negative_prompt"] == ""
    assert build("flux-schnell", negative_prompt="").adjustments == ()


def test_a_text_too_long_for_the_model_is_cut_and_noted() -> None:
    built = outside({"negative_prompt": {"type": "string", "maxLength": 3}}, negative_prompt="blur")
    assert built.input["negative_prompt"] == "blu"
    assert built.adjustments == ("negative_prompt: asked 4 characters, sent 3",)


@pytest.mark.parametrize(
    ("model_id", "word"),
    [
        ("flux-schnell", "webp"),
        ("imagen-4", "jpeg"),
        ("gpt-image-1.5", "webp"),
        ("seedream-4", "jpeg"),
        ("sdxl", "png"),
        ("recraft-v3-svg", "svg"),
    ],
)
def test_output_formats_are_named_as_images_names_them(model_id: str, word: str) -> None:
    model = find_model(model_id)
    assert model is not None
    assert output_format_of(build(model_id).input, model) == word


# Schemas from outside


def test_references_lead_out_of_the_input_schema() -> None:
    document = {
        "openapi": "3.0.2",
        "components": {
            "schemas": {
                "aspect_ratio": {"type": "string", "enum": ["1:1", "3:2"]},
                "Input": {
                    "type": "object",
                    "required": ["prompt"],
                    "properties": {
                        "prompt": {"type": "string"},
                        "aspect_ratio": {
                            "allOf": [{"$ref": "#/components/schemas/aspect_ratio"}],
                            "default": "1:1",
                        },
                    },
                },
            }
        },
    }
    for wrapped in (
        document,
        {"openapi_schema": document},
        {"latest_version": {"openapi_schema": document}},
    ):
        built = build_input(ask(width=900, height=600), model_from_schema("any/model", wrapped))
        assert built.input == {"prompt": "a cat", "aspect_ratio": "3:2"}


def test_references_into_the_schema_itself() -> None:
    schema = {
        "$defs": {"ratio": {"enum": ["1:1", "3:2"]}},
        "properties": {"prompt": {"type": "string"}, "aspect_ratio": {"$ref": "#/$defs/ratio"}},
    }
    for document in (schema, {"model": "any/model", "input": schema}):
        built = build_input(ask(width=900, height=600), model_from_schema("any/model", document))
        assert built.input["aspect_ratio"] == "3:2"


def test_a_broken_definition_spoils_only_what_uses_it() -> None:
    schema = {
        "$defs": {"broken": {"maximum": "high"}},
        "properties": {"prompt": {"type": "string"}, "seed": {"$ref": "#/$defs/broken"}},
    }
    built = build_input(ask(seed=5), model_from_schema("any/model", schema))
    assert built.input == {"prompt": "a cat"}


@pytest.mark.parametrize(
    ("field", "asked", "sent"),
    [
        pytest.param({"type": ["number", "null"], "maximum": 5}, 7.5, 5, id="a list of types"),
        pytest.param({"anyOf": [{"type": "null"}, {"maximum": 5}]}, 7.5, 5, id="anyOf with null"),
        pytest.param({"oneOf": [{"enum": [1, 2]}, {"const": 8}]}, 7, 8, id="words of oneOf"),
        pytest.param({"allOf": [{"minimum": 3}, {"minimum": 9}]}, 7, 9, id="allOf narrows"),
        pytest.param({"type": "number", "exclusiveMinimum": 0}, 0, 0.01, id="exclusive"),
        pytest.param(
            {"exclusiveMaximum": True, "maximum": 5}, 9, 4.99, id="exclusive, OpenAPI 3.0"
        ),
        pytest.param({"type": "integer", "exclusiveMaximum": 5.5}, 9, 5, id="exclusive, whole"),
        pytest.param({"type": "number", "multipleOf": 0.5}, 7.6, 7.5, id="multiple"),
        pytest.param({"type": "integer"}, 7.6, 8, id="whole"),
        pytest.param({"const": 3}, 7, 3, id="const"),
        pytest.param({"type": "string"}, 7, None, id="no number"),
        pytest.param({"minimum": 5, "maximum": 3}, 7, None, id="no legal value"),
    ],
)
def test_guidance_by_any_schema(field: dict[str, Any], asked: float, sent: float | None) -> None:
    properties = {"prompt": {"type": "string"}, "cfg": field}
    model = model_from_schema("any/model", {"properties": properties})
    built = build_input(ask(guidance_scale=asked), model)
    assert built.input.get("cfg") == sent
    assert bool(built.adjustments) == (sent != asked)


def test_the_catalogue_still_applies_to_a_known_model() -> None:
    schema = FACTS["black-forest-labs/flux-1.1-pro"]["input"]
    model = model_from_schema("flux-1.1-pro", {**schema, "required": []})
    assert build_input(ask(width=1000, height=700), model).input["width"] == 992


def test_required_fields_are_filled_where_a_value_is_known() -> None:
    properties: dict[str, Any] = {
        "width": {"type": "integer", "maximum": 2048},
        "height": {"type": "integer", "maximum": 2048},
        "seed": {"type": "integer"},
        "num_outputs": {"type": "integer"},
        "scheduler": {"enum": ["K_EULER", "DDIM"], "default": "DDIM"},
        "mode": {"const": "image"},
    }
    assert outside(properties, "prompt", *properties).input == {
        "prompt": "a cat",
        "width": 1024,
        "height": 1024,
        "seed": 4,
        "num_outputs": 1,
        "scheduler": "DDIM",
        "mode": "image",
    }


@pytest.mark.parametrize(
    ("properties", "required", "named"),
    [
        pytest.param({"lora_url": {"type": "string"}}, "lora_url", "lora_url", id="nothing fits"),
        pytest.param({}, "undeclared", "undeclared", id="not among the properties"),
        pytest.param({"image": {"type": "string"}}, "image", "source_image_url", id="a picture"),
        pytest.param({"prompt": {"type": "integer"}}, "seed", "prompt", id="no text"),
        pytest.param({"prompt": {"$ref": "#/nowhere"}}, "seed", "prompt", id="no such reference"),
    ],
)
def test_a_model_that_cannot_be_fed_is_refused(properties: Any, required: str, named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        outside(properties, required)


def test_a_model_with_a_key_of_its_own_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="openai_api_key"):
        build(NEEDS_A_KEY)


@pytest.mark.parametrize(
    "field",
    [
        pytest.param({"$ref": "#/properties/seed"}, id="refers to itself"),
        pytest.param({"$ref": "https://example.com/seed.json"}, id="refers elsewhere"),
        pytest.param({"type": "number", "minimum": "low"}, id="is no schema"),
        pytest.param({"multipleOf": 0}, id="is a multiple of nothing"),
        pytest.param(False, id="allows nothing"),
        pytest.param({"enum": [None, {}, [], True, "5"]}, id="lists no number"),
        pytest.param({"type": "array"}, id="is a list"),
        pytest.param({"minimum": 0.2, "maximum": 0.8}, id="has no whole number"),
        pytest.param({"enum": [1, 2], "const": 5}, id="contradicts itself"),
    ],
)
def test_a_hostile_field_is_left_out(field: Any) -> None:
    schema = {"properties": {"prompt": {"type": "string"}, "seed": field}}
    built = build_input(ask(seed=5), model_from_schema("any/model", schema))
    assert built.input == {"prompt": "a cat"}
    assert built.adjustments == ("seed: not supported by this model",)


HANGS = r"^(a+)+$"
"""2^n steps for n letters and something else: 30 of them hold the GIL for minutes (ReDoS)."""


@pytest.mark.parametrize(
    "field",
    [
        pytest.param({"type": "string", "pattern": HANGS}, id="a pattern"),
        pytest.param({"allOf": [{"type": "string"}, {"pattern": HANGS}]}, id="in an allOf"),
        pytest.param({"not": {"pattern": HANGS}}, id="in a not"),
        pytest.param({"anyOf": [{"pattern": HANGS}, {"type": "string"}]}, id="in an anyOf"),
        pytest.param({"if": {"pattern": HANGS}, "else": False}, id="in a condition"),
    ],
)
def test_the_pattern_of_somebodys_model_is_never_tried(field: Any, monkeypatch) -> None:
    """A model's schema is its author's, who may be whoever sends the prompt."""

    class Re:
        @staticmethod
        def search(*_: object) -> None:
            raise AssertionError("a pattern was tried")

    monkeypatch.setattr("jsonschema._keywords.re", Re)
    schema = {"properties": {"prompt": {"type": "string"}, "negative_prompt": field}}
    model = model_from_schema("any/model", schema)
    built = build_input(ask(negative_prompt="a" * 60 + "!"), model)
    assert built.input == {"prompt": "a cat"}
    assert built.adjustments == ("negative_prompt: not supported by this model",)
    with pytest.raises(UnsupportedModel, match="takes no text prompt"):
        build_input(ask(), model_from_schema("any/model", {"properties": {"prompt": field}}))


def test_properties_named_by_patterns_are_refused() -> None:
    schema = {"properties": {"prompt": {"type": "string"}}, "patternProperties": {HANGS: True}}
    with pytest.raises(InvalidRequest, match="named by patterns"):
        model_from_schema("any/model", schema)


def test_hostile_sizes_do_no_harm() -> None:
    fields: dict[str, Any] = {
        "aspect_ratio": {"enum": ["0:0", "1:0", "custom", "99999:1", None, {"a": 1}]},
        "size": {"enum": ["00x00", "0K", "", ":", "x"]},
        "megapixels": {"type": "string", "default": "no"},
        "width": {"type": "integer", "minimum": 10, "maximum": 5},
        "height": {"enum": ["tall"]},
    }
    built = outside(fields, width=640, height=480)
    assert built.input == {"prompt": "a cat"}
    assert built.adjustments == ("size: not supported by this model",)


def test_a_branch_among_others_keeps_its_meaning() -> None:
    inner = {"oneOf": [{"enum": [1]}, {}]}  # allows all but 1
    properties = {"prompt": {}, "steps": {"oneOf": [{"type": "integer"}, inner]}}
    model = model_from_schema("any/model", {"properties": properties})
    built = build_input(ask(num_inference_steps=5), model)
    assert "steps" not in built.input  # both branches allow 5, so oneOf refuses it


def _bomb() -> dict[str, Any]:
    doubled = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
    return {"$defs": {**doubled, "d30": {}}, "properties": {"prompt": {"$ref": "#/$defs/d0"}}}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(None, id="null"),
        pytest.param([], id="a list"),
        pytest.param({}, id="no properties"),
        pytest.param({"properties": [1]}, id="properties of another kind"),
        pytest.param({"properties": {}, "required": "prompt"}, id="required of another kind"),
        pytest.param({"properties": {"prompt": {"maximum": math.inf}}}, id="infinite"),
        pytest.param(_bomb(), id="grows without end"),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidRequest):
        model_from_schema("any/model", schema)


def test_conditions_between_inputs_are_kept_or_refused() -> None:
    schema = {
        "properties": {"prompt": {"type": "string"}, "image": {"type": "string"}},
        "dependentRequired": {"image": ["mask"]},
    }
    model = model_from_schema("any/model", schema)
    assert build_input(ask(), model).input == {"prompt": "a cat"}
    with pytest.raises(UnsupportedModel, match="any/model"):
        build_input(ask(source_image_url=PICTURE), model)


# The catalogue


def test_every_data_file_has_a_row_and_every_row_a_file() -> None:
    assert CATALOG.keys() == FACTS.keys()
    assert len({model.name for model in CATALOG.values()}) == len(FACTS)


def test_no_spelling_means_two_models() -> None:
    spellings = [w for model in CATALOG.values() for w in (model.replicate_id, *model.aliases)]
    assert len(spellings) == len({word.casefold() for word in spellings})


@pytest.mark.parametrize("model_id", FACTS)
def test_only_community_models_are_called_by_version(model_id: str) -> None:
    model = CATALOG[model_id]
    assert (model.version is None) == (FACTS[model_id]["official"] is True)


@pytest.mark.parametrize("spelling", ["bytedance/seedream-4", "Seedream-4", " SEEDREAM-4 "])
def test_models_are_found_by_id_or_alias_in_any_case(spelling: str) -> None:
    assert find_model(spelling) is CATALOG["bytedance/seedream-4"]


def test_an_unknown_model_has_neighbours() -> None:
    assert find_model("black-forest-labs/flux-schnel") is None
    told = str(unknown_model("black-forest-labs/flux-schnel"))
    assert told.startswith(
        "Unknown model black-forest-labs/flux-schnel, perhaps black-forest-labs/flux-schnell,"
    )
    told = str(unknown_model("somebody/SDXL-lightening"))
    assert "perhaps bytedance/sdxl-lightning-4step" in told
    assert str(unknown_model("\N{SNOWMAN}")) == "Unknown model \N{SNOWMAN}"
