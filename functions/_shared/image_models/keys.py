"""Synonyms of input keys among models, by meaning. The first that a model's schema has is used."""

SIZE_KEYS = ("aspect_ratio", "size", "image_size", "resolution", "megapixels")
"""Properties whose enum values mean a size; a value is recognised by its form, not by its property."""
STEPS_KEYS = ("num_inference_steps", "steps")
GUIDANCE_KEYS = ("guidance_scale", "guidance", "cfg", "cfg_scale")
IMAGE_KEYS = ("image", "input_image", "image_input", "input_images", "image_prompt")
DENOISE_KEYS = ("prompt_strength", "strength")
"""Strength of the change: 1 ignores the source picture, as in the request's ``strength``."""
KEEP_KEYS = ("image_prompt_strength",)
"""The inverse scale: 1 keeps the source picture."""
STYLE_KEYS = ("style", "style_type", "style_preset")
COUNT_KEYS = ("num_outputs", "number_of_images", "num_images", "max_images")
SERIES_KEY = "sequential_image_generation"
"""Where a model has this key, its count applies only when the key is "auto"."""
