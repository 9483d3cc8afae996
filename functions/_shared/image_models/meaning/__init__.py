"""What each field of a model's input means: read from its name, type, range, default, description and neighbours."""

from functions._shared.image_models.meaning.reader import Meaning, read_meaning

__all__ = ["Meaning", "read_meaning"]
