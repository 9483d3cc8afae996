"""Lenient reading: what means one thing is read and noted, what could mean two is left to be refused."""

import pytest

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.web.bodies import validate

BODY = {"prompt": "a fox", "model_id": "any/model"}


def read(**fields):
    return validate(GenerationRequest, {**BODY, **fields})


@pytest.mark.parametrize(
    ("field", "sent", "meant"),
    [
        ("guidance_scale", "7.5", 7.5),
        ("guidance_scale", " 7 ", 7.0),
        ("num_inference_steps", "20", 20),
        ("width", "1024", 1024),
        ("width", "1024.0", 1024),
        ("seed", "-1", -1),
        ("num_outputs", "2", 2),
        ("strength", "0.3", 0.3),
        ("output_format", "PNG", "png"),
        ("output_format", ".jpg", "jpg"),
        ("output_format", "image/webp", "webp"),
        ("output_format", "image/svg+xml", "svg"),
        ("aspect_ratio", "16x9", "16:9"),
        ("aspect_ratio", "16 : 9", "16:9"),
        ("aspect_ratio", "16/9", "16:9"),
        ("aspect_ratio", "Match input image", "match_input_image"),
        ("aspect_ratio", "Auto", "auto"),
    ],
)
def test_another_spelling_is_read_and_noted(field, sent, meant):
    request = read(**{field: sent})
    assert getattr(request, field) == meant
    assert request.reading_notes == [f'{field}: "{sent}" read as {meant}']


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize(
    "field",
    ["source_image_url", "aspect_ratio", "output_format", "num_outputs", "width", "style", "seed"],
)
def test_an_empty_text_is_an_absent_field(field, empty):
    request = read(**{field: empty})
    assert (getattr(request, field), request.reading_notes) == (None, None)


def test_an_empty_negative_prompt_is_one():
    assert read(negative_prompt="").negative_prompt == ""


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("guidance_scale", "7,5"),
        ("guidance_scale", "1e3"),
        ("guidance_scale", "NaN"),
        ("width", "1,024"),
        ("width", "1024px"),
        ("width", "12.5"),
        ("num_outputs", "two"),
        ("output_format", "gif"),
        ("aspect_ratio", "1.78"),
        ("aspect_ratio", "wide"),
        ("seed", "9" * 25),
    ],
)
def test_what_could_mean_two_things_is_refused(field, sent):
    with pytest.raises(InvalidRequest, match=f"^{field}: "):
        read(**{field: sent})


def test_a_long_prompt_is_counted_in_characters():
    with pytest.raises(InvalidRequest, match=r"must have at most 10000 characters$"):
        read(prompt="x" * 10_001)


def test_unknown_fields_are_noted_and_bounded():
    notes = read(lora_scale=1, go_fast=True).reading_notes
    assert notes is not None
    assert [note.partition(":")[0] for note in notes] == ["lora_scale", "go_fast"]
    many = read(**{f"x{n}": n for n in range(50)}, **{"y" * 5000: 1}).reading_notes
    assert many is not None
    assert len(many) == 21
    assert many[-1] == "input: 31 further fields of the request are unknown"
    assert max(map(len, many)) < 200


def test_a_clients_own_notes_are_an_unknown_field():
    assert read(reading_notes=["seed: all right"]).reading_notes == [
        "reading_notes: not a field of a request; what the model itself takes goes into input"
    ]
