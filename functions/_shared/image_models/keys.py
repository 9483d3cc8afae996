"""One idea has many names: the input keys that models use for it. The first that a model has is used."""

SIZE_KEYS = ("aspect_ratio", "size", "image_size", "resolution", "megapixels")
"""Properties whose words mean a size; each word is told by its shape, not by its property."""
STEPS_KEYS = ("num_inference_steps", "steps")
GUIDANCE_KEYS = ("guidance_scale", "guidance", "cfg", "cfg_scale")
IMAGE_KEYS = ("image", "input_image", "image_input", "input_images", "image_prompt")
DENOISE_KEYS = ("prompt_strength", "strength")
"""1 ignores the source picture, as in the request."""
KEEP_KEYS = ("image_prompt_strength",)
"""1 keeps the source picture."""
STYLE_KEYS = ("style", "style_type", "style_preset")
COUNT_KEYS = ("num_outputs", "number_of_images", "num_images", "max_images")
SERIES_KEY = "sequential_image_generation"
"""Where a model has it, the count is read only when it is "auto"."""
