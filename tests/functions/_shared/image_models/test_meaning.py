"""What a model's input keys mean, read from its schema: each case is a kind of field that public models have."""

import pytest

from functions._shared.image_models.catalog import CATALOG
from functions._shared.image_models.meaning import read_meaning
from functions._shared.image_models.meaning.fields import snake_case

TEXT = {"type": "string"}
URI = {"type": "string", "format": "uri"}


def number(description="", low=None, high=None, default=None, **more):
    bounds = {"minimum": low, "maximum": high, "default": default, "description": description}
    return {"type": "number", **{k: v for k, v in bounds.items() if v not in (None, "")}, **more}


def whole(description="", default=None, **more):
    return number(description, default=default) | {"type": "integer", **more}


def read(required=(), **properties):
    return read_meaning({"prompt": TEXT, **properties}, tuple(required))


CFG = "Strength of the prompt. This is the CFG scale, higher numbers lead to stronger prompt"
DESTRUCTION = "1.0 corresponds to full destruction of information in image"


@pytest.mark.parametrize(
    ("fields", "strength", "guidance"),
    [
        pytest.param(
            {"prompt_strength": number(CFG, default=7)}, None, "prompt_strength", id="CFG"
        ),
        pytest.param(
            {
                "prompt_strength": number(CFG, 0, 3, 2),
                "denoising_strength": number("1 is the complete destruction", 0, 1, 1),
            },
            ("denoising_strength", False),
            "prompt_strength",
            id="CFG within the range, denoising beside it",
        ),
        pytest.param(
            {"strength": number("control strength/weight", 0, 2, 0.8)}, None, None, id="control"
        ),
        pytest.param({"strength": number("Control strength", default=1)}, None, None, id="weight"),
        pytest.param({"strength": number("mask strength", default=0.7)}, None, None, id="mask"),
        pytest.param({"strength": number("", 0, 1.5, 0.8)}, None, None, id="beyond 1"),
        pytest.param({"strength": whole("", default=50)}, None, None, id="whole numbers"),
        pytest.param({"strength": number("", 0, 1, 0.8)}, ("strength", False), None, id="bare"),
        pytest.param(
            {"prompt_strength": number(DESTRUCTION, default=0.8)},
            ("prompt_strength", False),
            None,
            id="described",
        ),
        pytest.param(
            {"creativity": number("Denoising strength. 1 means total destruction", 0, 1)},
            ("creativity", False),
            None,
            id="another name",
        ),
        pytest.param(
            {"image_prompt_strength": number("Blend between the prompt and the image", 0, 1)},
            ("image_prompt_strength", True),
            None,
            id="inverse by its name",
        ),
        pytest.param(
            {"strength": number("0 means none of the picture is used", 0, 1)},
            ("strength", True),
            None,
            id="inverse by its description",
        ),
        pytest.param(
            {"init_skip_fraction": number("Fraction of sampling steps to skip", 0, 1)},
            ("init_skip_fraction", True),
            None,
            id="steps left out",
        ),
        pytest.param(
            {"ip_adapter_scale": number("Scale for the IP Adapter", 0, 1)}, None, None, id="adapter"
        ),
    ],
)
def test_strength_by_what_the_schema_says(fields, strength, guidance):
    meaning = read(image=URI, **fields)
    found = meaning.strength and (meaning.strength.key, meaning.strength.turned)
    assert (found, meaning.guidance) == (strength, guidance)


@pytest.mark.parametrize(
    ("properties", "required", "key"),
    [
        pytest.param({"init_image": URI}, (), "init_image", id="init_image"),
        pytest.param({"main_face_image": URI}, (), "main_face_image", id="a face"),
        pytest.param({"control_image": URI}, (), "control_image", id="control"),
        pytest.param({"anything": URI}, (), "anything", id="any name"),
        pytest.param({"mask": URI}, (), None, id="a mask"),
        pytest.param(
            {"area": {**URI, "description": "Black and white mask"}}, (), None, id="so described"
        ),
        pytest.param({"image": URI, "mask": URI}, (), "image", id="beside a mask"),
        pytest.param({"lora_weights": URI}, (), None, id="weights"),
        pytest.param({"input_video": {**URI, "description": "A video"}}, (), None, id="a video"),
        pytest.param({"canny_image": URI, "depth_image": URI}, (), None, id="two, neither first"),
        pytest.param(
            {"canny_image": URI, "depth_image": URI}, ("depth_image",), "depth_image", id="required"
        ),
        pytest.param({"face_1": URI, "face_2": URI}, (), "face_1", id="a numbered series"),
        pytest.param({"style_image": URI, "image": URI}, (), "image", id="not the style's"),
        pytest.param(
            {"a": URI, "b": {**URI, "description": "Input image for upscale or variation"}},
            (),
            "b",
            id="described as the start",
        ),
        pytest.param(
            {
                "image": {**URI, "description": "For inpainting. You must also use a mask."},
                "mask": URI,
            },
            (),
            None,
            id="only with a mask",
        ),
        pytest.param({"image": TEXT}, (), "image", id="a text of that name"),
        pytest.param(
            {"image_reference_url": {**TEXT, "description": "URL of a reference image"}},
            (),
            "image_reference_url",
            id="an address by its description",
        ),
        pytest.param({"some_url": TEXT}, (), None, id="an address of something"),
    ],
)
def test_one_picture_field_takes_the_source(properties, required, key):
    source = read(required, **properties).source
    assert (source.key if source else None) == key


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        pytest.param({"img2img": {"type": "boolean", "default": False}}, True, id="a boolean"),
        pytest.param(
            {"task": {"enum": ["text2img", "text_guided_img2img"], "default": "text2img"}},
            "text_guided_img2img",
            id="a task",
        ),
        pytest.param(
            {"pipe_type": {"enum": ["img2img", "txt2img"], "default": "txt2img"}},
            "img2img",
            id="a type",
        ),
        pytest.param(
            {
                "uov_method": {
                    "enum": ["Disabled", "Vary (Subtle)", "Upscale"],
                    "default": "Disabled",
                }
            },
            "Vary (Subtle)",
            id="a method that is off",
        ),
        pytest.param(
            {"mode": {"enum": ["img2img", "rf_inversion"], "default": "rf_inversion"}},
            None,
            id="no switch",
        ),
    ],
)
def test_what_keeps_the_picture_from_counting_is_switched_on(switch, value):
    source = read(image=URI, **switch).source
    assert source is not None
    assert source.switches == (((*switch, value),) if value is not None else ())


@pytest.mark.parametrize(
    ("role", "properties", "key"),
    [
        ("steps", {"ddim_steps": whole("Steps")}, "ddim_steps"),
        ("steps", {"edm_steps": whole("Number of steps for EDM sampling")}, "edm_steps"),
        ("steps", {"refine_steps": whole("number of steps to refine")}, None),
        ("steps", {"prior_steps": whole("Number of prior steps"), "decoder_steps": whole()}, "prior_steps"),
        ("steps", {"respacing": {"enum": ["15", "27"], "description": "Number of timesteps to use"}}, "respacing"),
        ("guidance", {"scale": number("Guidance Scale", default=9)}, "scale"),
        ("guidance", {"scale": number("", default=9), "ddim_steps": whole()}, "scale"),
        ("guidance", {"scale": number("Factor to scale image by", default=2)}, None),
        ("guidance", {"scale": number("Scale (influence of input image)", 0, 1, 0.6)}, None),
        ("guidance", {"guidance_scale": number("controlnet conditioning scale", 0, 1)}, None),
        ("guidance", {"clip_guidance_scale": number("CLIP guidance scale", default=5000)}, None),
        ("guidance", {"guaidance_scale": number("Higher guidance scale")}, "guaidance_scale"),
        ("seed", {"image_seed": whole()}, "image_seed"),
        ("seed", {"manual_seed": whole()}, "manual_seed"),
        ("count", {"num_samples": {"enum": ["1", "4"]}}, "num_samples"),
        ("count", {"batch_size": whole("Number of images to generate")}, "batch_size"),
        ("count", {"batch_size": whole("The batch size for multiple denoising paths")}, None),
        ("negative_prompt", {"n_prompt": TEXT}, "n_prompt"),
        ("negative_prompt", {"negativePrompt": TEXT}, "negativePrompt"),
        ("output_format", {"format": {"enum": ["jpg", "png"]}}, "format"),
        ("output_format", {"type": {"enum": ["video", "gif"]}}, None),
        ("styles", {"style_name": {"enum": ["Anime", "None"]}}, ("style_name",)),
        ("styles", {"font_style": {"enum": ["a"], "description": "Choose the font style"}}, ()),
        ("size_keys", {"aspect_ratios_selection": {"enum": ["704*1408"]}}, ("aspect_ratios_selection",)),
        ("size_keys", {"resolution": whole("Resolution for detection")}, ()),
    ],
)  # fmt: skip
def test_numbers_and_words_under_other_names(role, properties, key):
    assert getattr(read(**properties), role) == key


@pytest.mark.parametrize(
    ("width", "height", "found"),
    [
        ("image_width", "image_height", ("image_width", "image_height", 1, False)),
        ("max_width", "max_height", ("max_width", "max_height", 1, True)),
        ("widthh", "heightt", ("widthh", "heightt", 1, False)),
        ("crop_width", "crop_height", None),
    ],
)
def test_sides_under_other_names(width, height, found):
    sides = read(**{width: whole(), height: whole()}).sides
    assert (sides and (sides.width, sides.height, sides.factor, sides.bound)) == found


def test_sides_of_something_else_and_of_half_the_picture():
    detector = whole("Width for face detection")
    assert read(width=detector, height=whole("Height for face detection")).sides is None
    grown = read(ori_width=whole("Final output will double the width"), ori_height=whole()).sides
    assert grown is not None
    assert grown.factor == 2


@pytest.mark.parametrize(
    ("properties", "required", "key"),
    [
        ({"positive_prompt": TEXT, "negative_prompt": TEXT}, (), "positive_prompt"),
        ({"edit_prompt": TEXT}, (), "edit_prompt"),
        ({"text": TEXT}, (), "text"),
        ({"text": TEXT, "voice": TEXT}, (), None),
        ({"text_prompt": TEXT, "box_prompt": TEXT}, (), None),
        ({"front_prompt": TEXT, "back_prompt": TEXT}, (), None),
        ({"front_prompt": TEXT, "back_prompt": TEXT}, ("back_prompt",), "back_prompt"),
        ({"system_prompt": TEXT}, (), None),
    ],
)
def test_the_prompt_under_another_name(properties, required, key):
    assert read_meaning(properties, required).prompt == key


def test_the_shipped_models_mean_what_they_meant():
    """The keys of the shipped schemas, which have no descriptions: by their names alone."""
    sdxl = CATALOG["stability-ai/sdxl"].meaning
    assert sdxl.source is not None
    assert sdxl.strength is not None
    assert (sdxl.source.key, sdxl.strength.key, sdxl.guidance) == (
        "image",
        "prompt_strength",
        "guidance_scale",
    )
    ultra = CATALOG["black-forest-labs/flux-1.1-pro-ultra"].meaning
    assert ultra.strength is not None
    assert (ultra.strength.key, ultra.strength.turned) == ("image_prompt_strength", True)
    assert CATALOG["bytedance/seedream-4"].meaning.size_keys == ("aspect_ratio", "size")


def test_names_in_any_case():
    assert [snake_case(key) for key in ("negativePrompt", "Negative-Prompt", "CFG scale")] == [
        "negative_prompt",
        "negative_prompt",
        "cfg_scale",
    ]


def test_a_long_description_is_read_up_to_a_bound():
    bomb = "0 means " + "none " * 200_000
    assert read(image=URI, strength=number(bomb, 0, 1)).strength is not None
