"""The roles of numbers and words: steps, guidance, seed, count, negative prompt, style, output format."""

from functions._shared.image_models.json_schema import Schema, is_whole, types_of
from functions._shared.image_models.meaning.fields import (
    Properties,
    Role,
    by_names,
    description_of,
    is_number,
    is_text,
    listed_words,
    snake_case,
    spellings,
    words,
)

FORMAT_WORDS = ("webp", "png", "jpg", "jpeg", "svg")
"""The output formats that can be stored, best first."""
SERIES_KEY = "sequential_image_generation"
"""Where a model has this key, its count applies only when the key is "auto"."""
MOST_GUIDANCE = 100
"""A greater default is the weight of a loss, as of CLIP guidance, not a classifier-free guidance scale."""


def _is_scale(limits: Schema) -> bool:
    default = limits.get("default")
    return is_number(limits) and not (isinstance(default, int | float) and default > MOST_GUIDANCE)


def _is_count(limits: Schema) -> bool:
    return is_number(limits) and (is_whole(limits) or "enum" in limits or not types_of(limits))


def _is_style(limits: Schema) -> bool:
    return bool(listed_words(limits))


def _is_format(limits: Schema) -> bool:
    if "enum" in limits:
        return any(word.casefold() in FORMAT_WORDS for word in listed_words(limits))
    return is_text(limits)


PROMPT = Role(
    names=spellings(
        """
        prompts positive_prompt input_prompt edit_prompt prompt_text text_prompt captions caption a_prompt text
        """
    ),
    fits=is_text,
    vetoes=words(r"instead\ of | negative | classify\ the\ image | question | speech | spoken"),
)
_OTHER_PROMPT = words(
    r"negative | system | style | suffix | prefix | postfix | append | additional | box | point | mask"
)
_NOT_DRAWN = frozenset(
    spellings(
        "voice speaker speaker_wav audio language lang pitch point_prompt box_prompt threshold iou"
    )
)
"""Neighbours with which a text is spoken or searched for, not drawn."""

STEPS = Role(
    names=spellings(
        """
        num_inference_steps steps num_steps ddim_steps inference_steps sampling_steps sample_steps
        number_of_steps infer_steps num_diffusion_steps diffusion_steps denoising_steps denoise_steps
        num_sampling_steps number_of_inference_steps n_steps
        """
    ),
    fits=is_number,
    vetoes=words(r"refine | upscal | \bprior\b | decoder | super.?res | callback | to\ skip"),
    confirms=words(
        r"""number\ of\ (\w+\ )?(inference|interference|denoising|diffusion|sampling|sample|ddim)\ (time)?steps
        | number\ of\ (steps\b | timesteps\ to\ use) | (sampling|denoising|inference|diffusion)\ steps?\b"""
    ),
    other=words(
        r"""refine | upscal | prior | decoder | super | sr_ | hires | hr_ | second | skip | start | \bend | lcm
        | lightning | tile | inpaint | face | personali | callback | preview | guidance | cfg
        | stage_ | strength | fraction | percent"""
    ),
)

GUIDANCE = Role(
    names=spellings(
        """
        guidance_scale guidance cfg cfg_scale guidance_strength text_guidance_scale text_cfg
        text_guidance unconditional_guidance_scale classifier_free_guidance_scale prompt_guidance
        scale_guidance true_guidance_scale true_cfg
        """
    ),
    fits=_is_scale,
    vetoes=words(
        r"""conditioning\ scale | scale\ of\ conditioning
        | (scale|strength|weight)\ of\ (the\ )?(guidance\ )?(image|control) | image\ guidance | ip.?adapter
        | style\ guidance | input\ image\ on | upscal"""
    ),
    confirms=words(
        r"""classifier.?free | text\ guidance | \bcfg\ (scale|value)? | guidance\ scale | ^guidance\b
        | unconditional\ guidance
        | (closely|strongly)\ .{0,40}\ prompt | unconditional\ scale"""
    ),
    other=words(
        r"""rescale | prior | decoder | \blcm | lcm_ | inpaint | hires | hr_ | clip.guidance | clip_
        | \bpag | pag_ | adm | negative | image.?(cfg|guid) | img_ | for\ images | style | start | \bend
        | _end | control.?net | condition
        | adapter | super | steps | adaptive | rescal | guess | latent | mask | loss | memory | separate"""
    ),
)
PRIOR_STEPS = Role(
    names=("prior_num_inference_steps", "num_inference_steps_prior", "steps_prior", "prior_steps"),
    fits=is_number,
)
PRIOR_GUIDANCE = Role(
    names=("prior_guidance_scale", "guidance_scale_prior", "prior_cf_scale"), fits=_is_scale
)
BARE_SCALE = "scale"
"""As a name, either classifier-free guidance or a factor of the size or the weight of a picture."""

SEED = Role(
    names=spellings(
        """
        seed random_seed image_seed manual_seed noise_seed rand_seed seeds
        """
    ),
    fits=lambda limits: is_number(limits) and "enum" not in limits,
    confirms=words(r"\bseed\b"),
    other=words(r"random(ise|ize)_seeds? | second | variation | sub_?seed | strength"),
)

_ZERO_IS_RANDOM = words(r"\b0\b .{0,20} random")

COUNT = Role(
    names=spellings(
        """
        num_outputs number_of_outputs number_of_images num_images num_images_per_prompt
        images_per_prompt num_samples n_samples image_number image_num num_image sample_num
        number_picture num_output_images number_of_pictures n_images num_pictures max_images batch_count
        batch_size samples n_iter
        """
    ),
    fits=_is_count,
    vetoes=words(r"denoising\ paths | \bviews?\b | \btiles?\b | patches | frames | \bfaces?\ "),
    confirms=words(r"number\ of\ (output\ |generated\ )?(images?|pictures?|outputs?)\b"),
    other=words(
        r"step | frame | \bper\ (pose|batch) | search | refer | database | path | input | lora"
    ),
)

NEGATIVE_PROMPT = Role(
    names=spellings(
        """
        negative_prompt n_prompt neg_prompt negative negative_prompts prompt_negative negative_text
        negative_text_prompt neg uncond_prompt
        """
    ),
    fits=is_text,
    confirms=words(r"negative\ (text\ |input\ |image\ )?prompt | elements\ to\ exclude"),
    other=words(
        r"inpaint | face | additional | low_res | enhance | fix | mask | content | style | ^prompt | a_prompt"
    ),
)

STYLE = Role(
    names=spellings(
        """
        style style_type style_preset style_name style_selector style_template art_style image_style
        preset_style style_presets
        """
    ),
    fits=_is_style,
    vetoes=words(r"\bfont | \bface\b"),
)

OUTPUT_FORMAT = Role(
    names=spellings(
        """
        output_format format image_format file_format output_type output_extension extension
        output_file_format image_type
        """
    ),
    fits=_is_format,
)

STYLE_TEXT = Role(names=("style_selections", "styles"), fits=is_text)
"""Styles in words of the caller's, where the schema lists none."""
_STYLE_NAME = words(r"(^|_)style(_|$)")


def prompt_key(properties: Properties, required: tuple[str, ...]) -> str | None:
    """``prompt``; without one, the text of another name that is drawn: the only one, or the required one."""
    if "prompt" in properties:
        return "prompt"
    if _NOT_DRAWN & properties.keys():
        return None
    if key := PROMPT.find(properties):
        return key
    texts = [
        key
        for key, limits in properties.items()
        if "prompt" in snake_case(key)
        and not _OTHER_PROMPT.search(snake_case(key))
        and PROMPT.accepts(limits)
    ]
    wanted = [key for key in texts if key in required]
    return texts[0] if len(texts) == 1 else wanted[0] if len(wanted) == 1 else None


def steps_key(properties: Properties) -> str | None:
    """Of a model in two stages the steps of the first, the prior, which follows the prompt."""
    return STEPS.find(properties) or PRIOR_STEPS.find(properties)


def guidance_key(properties: Properties) -> str | None:
    """The property of the classifier-free guidance scale, ``scale`` among them where that is what it means."""
    limits = properties.get(BARE_SCALE, {})
    if _is_scale(limits) and BARE_SCALE in properties and GUIDANCE.find(properties) is None:
        default = limits.get("default")
        # Neighbours: DDIM's reference sampler calls its steps ddim_steps and its guidance scale.
        sampler = "ddim_steps" in properties and isinstance(default, int | float) and default > 1
        said = (
            GUIDANCE.confirms.search(description_of(limits))
            or "guidance" in description_of(limits).casefold()
        )
        if (said or sampler) and GUIDANCE.accepts(limits):
            return BARE_SCALE
    return GUIDANCE.find(properties) or PRIOR_GUIDANCE.find(properties)


def is_zero_random(limits: Schema) -> bool:
    """Whether the seed 0 stands for a random one, by the description."""
    return bool(_ZERO_IS_RANDOM.search(description_of(limits)))


def style_keys(properties: Properties) -> tuple[str, ...]:
    """All enumerations of styles: a model may have its styles in two of them; else a free text for them."""
    named = by_names(properties, STYLE.names)
    others = (key for key in properties if key not in named and _STYLE_NAME.search(snake_case(key)))
    listed = tuple(key for key in (*named, *others) if STYLE.accepts(properties[key]))
    free = STYLE_TEXT.find(properties)
    return listed or ((free,) if free else ())


def format_key(properties: Properties) -> str | None:
    """The output format's property; under another name than ``output_format`` it must list storable formats."""
    key = OUTPUT_FORMAT.find(properties)
    return key if key == "output_format" or (key and "enum" in properties[key]) else None
