"""Whatever a schema has: the input validates, or the error names the field. Schemas and requests are made up."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import model_from_schema
from functions._shared.image_models.meaning import frame, pictures, roles, strength
from functions.process_generation.inputs import build_input

pytestmark = pytest.mark.slow

SAYINGS = [
    "", "Guidance scale", "1.0 corresponds to full destruction of information", "Control strength", "Steps",
    "This is the CFG scale", "Number of images to generate", "Input image for img2img", "black and white mask",
]  # fmt: skip
WORDS = [
    "1:1", "16:9", "9:21", "4:3", "0:1", "custom", "txt2img", "img2img", "2", "square",
    "1024*512", "match_input_image", "1024x1024", "1365x1024", "64x4096", "1K",
    "4K", "1", "0.25", "1 MP", "auto", "disabled", "webp", "png", "jpg", "JPEG", "None", "Realistic", "a/b", "", "x",
]  # fmt: skip
NAMES = sorted(
    {
        "prompt", "extra", "mask", "scale", "img2img", "task", roles.SERIES_KEY, *frame.SIZE_NAMES[:8],
        *(side for pair in frame.SIDES[:3] for side in pair), *pictures.NAMES[:8], *strength.CHANGE_NAMES[:5],
        *strength.KEEP_NAMES[:3], *roles.STEPS.names[:4], *roles.GUIDANCE.names[:4], *roles.SEED.names[:2],
        *roles.COUNT.names[:6], *roles.NEGATIVE_PROMPT.names[:2], *roles.STYLE.names[:3],
        *roles.OUTPUT_FORMAT.names[:2],
    }
)  # fmt: skip

numbers = st.one_of(st.integers(-10, 5000), st.floats(-10, 5000, allow_nan=False, width=32))
values = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=2),
)


@st.composite
def limits(draw):
    """One property: any kind, any limits, contradicting ones too."""
    kind = draw(
        st.sampled_from(["integer", "number", "string", "boolean", "array", "nullable", "none"])
    )
    schema = {}
    if kind == "nullable":
        schema["type"] = [draw(st.sampled_from(["integer", "string", "number"])), "null"]
    elif kind != "none":
        schema["type"] = kind
    if kind == "array":
        schema["items"] = draw(
            st.sampled_from(
                [{"type": "string"}, {"type": "string", "format": "uri"}, {"type": "integer"}]
            )
        )
        schema |= draw(
            st.fixed_dictionaries(
                {}, optional={"minItems": st.integers(0, 2), "maxItems": st.integers(0, 2)}
            )
        )
    if draw(st.integers(0, 2)) == 0:
        schema["enum"] = draw(
            st.lists(st.one_of(st.sampled_from(WORDS), numbers, st.none()), min_size=1, max_size=6)
        )
    schema |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "minimum": numbers,
                "maximum": numbers,
                "exclusiveMinimum": numbers,
                "exclusiveMaximum": numbers,
                "multipleOf": st.sampled_from([1, 2, 8, 16, 64, 0.1, 0.25, 3]),
                "maxLength": st.integers(0, 20),
                "minLength": st.integers(0, 5),
                "default": values,
                "description": st.sampled_from(SAYINGS),
                "format": st.just("uri"),
            },
        )
    )
    return schema


@st.composite
def documents(draw):
    """An Input schema as Replicate serves it, enumerations by reference."""
    properties = draw(st.dictionaries(st.sampled_from(NAMES), limits(), max_size=8))
    if draw(st.integers(0, 4)):
        properties["prompt"] = {"type": "string"}
    referred = {}
    for name in (
        draw(st.sets(st.sampled_from(sorted(properties)), max_size=2)) if properties else ()
    ):
        target = properties[name]
        default = {"default": target.pop("default")} if "default" in target else {}
        referred[name] = target
        properties[name] = {"allOf": [{"$ref": f"#/components/schemas/{name}"}], **default}
    required = draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))
    schema = {"type": "object", "properties": properties, "required": required}
    return {"components": {"schemas": {**referred, "Input": schema}}}


requests = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["a fox", "x" * 40]), "model_id": st.just("made/up")},
    optional={
        "width": st.integers(64, 4096),
        "height": st.integers(64, 4096),
        "aspect_ratio": st.sampled_from(
            ["1:1", "16:9", "1.91:1", "9999:1", "1:9999", "auto", "custom"]
        ),
        "num_inference_steps": st.integers(1, 1000),
        "guidance_scale": st.floats(0, 100),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "negative_prompt": st.sampled_from(["", "dogs", "y" * 40]),
        "num_outputs": st.integers(1, 16),
        "source_image_url": st.just("https://example.com/a.png"),
        "strength": st.floats(0, 1),
        "style": st.sampled_from(["realistic", "b", "none"]),
        "output_format": st.sampled_from(["webp", "png", "jpg", "jpeg", "svg"]),
    },
)


def judge(document):
    schemas = document["components"]["schemas"]
    closed = {**schemas["Input"], "additionalProperties": False, "components": {"schemas": schemas}}
    return Draft202012Validator(closed)


@settings(max_examples=400, derandomize=True, suppress_health_check=list(HealthCheck))
@given(documents(), requests)
def test_the_input_validates_or_the_error_names_the_field(document, fields):
    request = GenerationRequest.model_validate(fields)
    refusal = None
    try:
        built = build_input(request, model_from_schema("made/up", document))
    except InvalidRequest as error:
        refusal = str(error)
    if refusal is not None:
        schema = document["components"]["schemas"]["Input"]
        names = ("made/up", "schema", *schema["properties"], *schema["required"])
        assert any(name in refusal for name in names)
        return
    errors = [error.message for error in judge(document).iter_errors(built.input)]
    assert not errors, built.input
    assert None not in built.input.values()
    for note in built.adjustments:
        assert note.partition(":")[0] in {*GenerationRequest.model_fields, "size"}


def test_the_judge_would_notice():
    document = {"components": {"schemas": {"Input": {"properties": {"seed": {"maximum": 3}}}}}}
    assert not judge(document).is_valid({"seed": 4})
    assert not judge(document).is_valid({"else": 1})
    request = GenerationRequest(prompt="x", model_id="made/up")
    model = model_from_schema("made/up", document)
    with pytest.raises(InvalidRequest, match="takes no text prompt"):
        build_input(request, model)
