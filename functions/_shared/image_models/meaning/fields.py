"""One property of a model's input as evidence: its texts and types; a role that a property may have."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from functions._shared.image_models.json_schema import Schema, legal_numbers, types_of

MAX_DESCRIPTION = 1000
"""Characters of a description that are read: a stranger wrote it, and each pattern scans it."""

Properties = Mapping[str, Schema]
Pattern = re.Pattern[str]


def words(text: str) -> Pattern:
    """A pattern in verbose notation that ignores case."""
    return re.compile(text, re.IGNORECASE | re.VERBOSE)


def spellings(text: str) -> tuple[str, ...]:
    """The names of a table, parted by blanks."""
    return tuple(text.split())


NOTHING = words(r"(?!)")
"""Matches no text."""


def description_of(limits: Schema) -> str:
    text = limits.get("description")
    return text[:MAX_DESCRIPTION] if isinstance(text, str) else ""


def snake_case(key: str) -> str:
    """``negativePrompt`` and ``Negative-Prompt`` are ``negative_prompt``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return re.sub(r"[\s-]+", "_", parted).casefold()


def by_names(properties: Properties, names: Sequence[str]) -> list[str]:
    """The keys of ``properties`` that are spelled as one of ``names``, in the order of the names."""
    spelled: dict[str, list[str]] = {}
    for key in properties:
        spelled.setdefault(snake_case(key), []).append(key)
    return [key for name in names for key in spelled.get(name, ())]


def is_number(limits: Schema) -> bool:
    """A number, or an enumeration of numbers or of their digits."""
    if "enum" in limits:
        return bool(legal_numbers(limits))
    return not types_of(limits) or bool(types_of(limits) & {"integer", "number"})


def is_text(limits: Schema) -> bool:
    free = "enum" not in limits and limits.get("format") is None
    return free and (not types_of(limits) or "string" in types_of(limits))


def listed_words(limits: Schema) -> list[str]:
    """The texts of an enumeration."""
    return [word for word in limits.get("enum", ()) if isinstance(word, str)]


@dataclass(frozen=True)
class Role:
    """How to find the property that means one field of a request."""

    names: Sequence[str]
    """In snake case, best first."""
    fits: Callable[[Schema], bool]
    vetoes: Pattern = NOTHING
    """Words of a description with which even a property of the right name means something else."""
    confirms: Pattern = NOTHING
    """Words of a description that make a property of any name a candidate."""
    other: Pattern = field(default=NOTHING)
    """Words of name or description that mark such a candidate as the same thing of another stage or part."""

    def find(self, properties: Properties) -> str | None:
        """The first property of the table that fits, else the only one whose description confirms it."""
        for key in by_names(properties, self.names):
            if self.accepts(properties[key]):
                return key
        described = [
            key
            for key, limits in properties.items()
            if self.confirms.search(description_of(limits))
            and self.accepts(limits)
            and not self.other.search(f"{snake_case(key)}: {description_of(limits)}")
        ]
        return described[0] if len(described) == 1 else None

    def accepts(self, limits: Schema) -> bool:
        return self.fits(limits) and not self.vetoes.search(description_of(limits))
