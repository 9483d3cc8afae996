"""Every schema we ship, a grid of requests: what is sent validates, and is the nearest to what was asked."""

import math

import pytest

from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import CATALOG
from functions._shared.image_models.describe import beyond_a_request
from functions.process_generation.inputs import build_input
from scripts.measure_inputs import measure, raw_schemas

SCHEMAS = raw_schemas()
USABLE = [id for id in sorted(SCHEMAS) if not beyond_a_request(CATALOG[id])]


def built(model_id, **fields):
    request = GenerationRequest.model_validate({"prompt": "a fox", "model_id": model_id, **fields})
    return build_input(request, CATALOG[model_id])


def test_every_file_is_in_the_catalogue_and_all_but_one_can_be_used():
    assert set(SCHEMAS) == set(CATALOG)
    assert set(SCHEMAS) - set(USABLE) == {"openai/gpt-image-1"}, "it wants a key of OpenAI's"


@pytest.mark.parametrize("model_id", USABLE)
def test_what_is_sent_is_accepted_by_the_schema_itself(model_id):
    tally = measure(CATALOG[model_id], SCHEMAS[model_id], step=512, combinations=100)
    assert tally.requests > 500
    assert (tally.accepted, tally.wrong) == (tally.requests, "")


@pytest.mark.parametrize("model_id", USABLE)
def test_a_legal_size_is_sent_as_it_is(model_id):
    fields = CATALOG[model_id].properties
    if not {"width", "height"} <= fields.keys():
        pytest.skip("takes no width and height")
    step = max(fields[side].get("multipleOf", 8) for side in ("width", "height"))
    low = max(fields[side].get("minimum", 64) for side in ("width", "height"))
    high = min(fields[side].get("maximum", 2048) for side in ("width", "height"))
    first = math.ceil(low / step) * step
    for width, height in [(first, first), (first + step, first), (high // step * step, first)]:
        sent = built(model_id, width=width, height=height)
        assert (sent.input["width"], sent.input["height"]) == (width, height)
        assert not sent.adjustments
        assert "custom" in sent.input.values() or not {"size", "aspect_ratio"} & fields.keys()


def ratio(word):
    across, _, down = str(word).partition(":")
    return float(across) / float(down) if down else None


@pytest.mark.parametrize("model_id", USABLE)
@pytest.mark.parametrize("asked", ["1:1", "16:9", "9:16", "1.91:1", "4:5", "21:9", "2:3", "1:3"])
def test_no_other_word_is_nearer_to_the_ratio_asked(model_id, asked):
    words = CATALOG[model_id].properties.get("aspect_ratio", {}).get("enum", ())
    offered = [ratio(word) for word in words if ratio(word)]
    sent = built(model_id, aspect_ratio=asked)
    if ratio(sent.input.get("aspect_ratio")):
        apart = [abs(math.log(one / ratio(asked))) for one in offered]
        assert abs(math.log(ratio(sent.input["aspect_ratio"]) / ratio(asked))) == min(apart)
        assert bool(sent.adjustments) == (ratio(asked) not in offered)


def test_a_ratio_that_is_not_offered_is_told():
    sent = built("stability-ai/stable-diffusion-3.5-large", aspect_ratio="3:4")
    assert sent.adjustments == ("aspect_ratio: asked 3:4, sent 4:5",)


def test_one_side_and_a_ratio_give_the_other_side():
    assert built("stability-ai/sdxl", width=1024, aspect_ratio="4:1").input["height"] == 256
    assert built("stability-ai/sdxl", height=512, aspect_ratio="2:1").input["width"] == 1024


def test_two_sides_win_over_a_ratio():
    sent = built("stability-ai/sdxl", width=1024, height=1024, aspect_ratio="16:9")
    assert sent.input["height"] == 1024
    assert sent.adjustments == ("aspect_ratio: asked 16:9, but width and height are given",)


def test_a_ratio_alone_leaves_the_amount_of_pixels_to_the_model():
    assert "resolution" not in built("google/nano-banana-pro", aspect_ratio="16:9").input
    assert "megapixels" not in built("black-forest-labs/flux-schnell", aspect_ratio="16:9").input
    sent = built("bytedance/seedream-4", aspect_ratio="16:9").input
    assert (sent["aspect_ratio"], "size" in sent) == ("16:9", False)
    odd = built("bytedance/seedream-4", aspect_ratio="3:1").input
    assert odd["size"] == "custom"
    assert odd["width"] / odd["height"] == pytest.approx(3, rel=0.01)
    assert built("stability-ai/sdxl", aspect_ratio="16:9").input["width"] == 1368


def test_the_count_goes_by_each_models_own_name():
    assert built("black-forest-labs/flux-dev", num_outputs=9).input["num_outputs"] == 4
    assert built("openai/gpt-image-1.5", num_outputs=3).input["number_of_images"] == 3
    assert built("minimax/image-01", num_outputs=3).input["number_of_images"] == 3
    series = built("bytedance/seedream-4", num_outputs=4).input
    assert (series["max_images"], series["sequential_image_generation"]) == (4, "auto")
    assert "sequential_image_generation" not in built("bytedance/seedream-4", num_outputs=1).input
    full = built("bytedance/seedream-4", num_outputs=16, source_image_url="https://x/y.png")
    assert full.input["max_images"] == 14, "15 with the source picture"
    assert "num_outputs: asked 16, sent 14" in full.adjustments
    single = built("google/imagen-4", num_outputs=4)
    assert single.adjustments == ("num_outputs: asked 4, sent 1",)


@pytest.mark.parametrize(
    ("model_id", "asked", "sent", "note"),
    [
        ("black-forest-labs/flux-dev", "jpeg", "jpg", ()),
        ("black-forest-labs/flux-dev", "png", "png", ()),
        ("openai/gpt-image-1.5", "jpg", "jpeg", ()),
        ("google/imagen-4", "webp", "jpg", ("output_format: asked webp, sent jpeg",)),
        ("stability-ai/sdxl", "png", None, ()),
        ("stability-ai/sdxl", "webp", None, ("output_format: asked webp, sent png",)),
        ("recraft-ai/recraft-v3-svg", "svg", None, ()),
    ],
)
def test_a_format_is_spelled_as_the_model_does(model_id, asked, sent, note):
    answer = built(model_id, output_format=asked)
    assert answer.input.get("output_format") == sent
    assert answer.adjustments == note
