"""The input of a prediction while it is built: values that the schema accepts, and adjustments."""

from dataclasses import dataclass, field
from typing import Any

from functions._shared.errors import InvalidRequest
from functions._shared.image_models.catalog import ImageModel
from functions._shared.image_models.json_schema import Schema
from functions._shared.image_models.meaning import Meaning

UNSUPPORTED = "not supported by this model"


class UnsupportedModel(InvalidRequest):
    """The model needs an input that the request does not carry, or takes no prompt."""


@dataclass
class Draft:
    """``own``: the keys that the request's ``input`` has set, which nothing else changes."""

    model: ImageModel
    input: dict[str, Any] = field(default_factory=dict)
    adjustments: list[str] = field(default_factory=list)
    own: frozenset[str] = frozenset()

    @property
    def fields(self) -> dict[str, Schema]:
        return self.model.properties

    @property
    def means(self) -> Meaning:
        return self.model.meaning

    def send(self, key: str, *values: Any) -> bool:
        """Set ``key`` to the first of ``values`` that the schema accepts; False where it accepts none."""
        if key in self.own:
            return True
        for value in values:
            if value is not None and self.model.takes(key, value):
                self.input[key] = value
                return True
        return False

    def note(self, name: str, text: str) -> None:
        self.adjustments.append(f"{name}: {text}")

    def is_own(self, name: str, key: str | None, *, asked: bool) -> bool:
        """Whether ``input`` sets ``key``; a request's field ``name`` that asks for the same is told so."""
        if key not in self.own:
            return False
        if asked:
            self.note(name, f"{key} of input is sent instead")
        return True

    def needs(self, key: str) -> bool:
        """Whether ``key`` is required, still absent, and without a default."""
        missing = key in self.model.schema.get("required", ()) and key not in self.input
        return missing and self.fields.get(key, {}).get("default") is None
