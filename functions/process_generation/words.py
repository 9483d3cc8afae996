"""Texts and words of enumerations: prompts, output format, style."""

import re
from typing import Any

from functions._shared.image_models.catalog import ImageModel, stored_format
from functions._shared.image_models.meaning.roles import FORMAT_WORDS
from functions.process_generation.draft import UNSUPPORTED, Draft


def send_text(draft: Draft, name: str, key: str, text: str) -> bool:
    """Send ``text``, cut to what the model takes; False where it takes none."""
    limit = int(draft.fields.get(key, {}).get("maxLength", len(text)))
    if (text and limit < 1) or not draft.send(key, text[:limit]):
        return False
    if len(text) > limit and key not in draft.own:
        draft.note(name, f"asked {len(text)} characters, sent {limit}")
    return True


def send_negative_prompt(draft: Draft, text: str | None) -> None:
    """An empty text too: it replaces the model's default."""
    key = draft.means.negative_prompt
    if draft.is_own("negative_prompt", key, asked=text is not None) or text is None:
        return
    if not (key and send_text(draft, "negative_prompt", key, text)) and text:
        draft.note("negative_prompt", UNSUPPORTED)


def output_format_of(model_input: dict[str, Any], model: ImageModel) -> str:
    """webp, png, jpeg or svg: what ``model`` makes of ``model_input``."""
    key = model.meaning.output_format
    return stored_format(str(model_input.get(key or "") or model.output_format))


def send_format(draft: Draft, asked: str | None) -> None:
    key = draft.means.output_format
    if draft.is_own("output_format", key, asked=asked is not None):
        return
    limits = draft.fields.get(key or "", {})
    listed = [word for word in limits.get("enum", ()) if isinstance(word, str)]
    listed = [word for word in listed if word.casefold() in FORMAT_WORDS]
    listed.sort(key=lambda word: FORMAT_WORDS.index(word.casefold()))
    default = str(limits.get("default"))
    storable = [default] if default.casefold() in FORMAT_WORDS else []
    storable += listed or FORMAT_WORDS
    first = stored_format(asked) if asked else draft.model.output_format
    storable.sort(key=lambda word: stored_format(word) != draft.model.output_format)
    storable.sort(key=lambda word: stored_format(word) != first)
    if key:
        draft.send(key, *storable)
    sent = output_format_of(draft.input, draft.model)
    if asked and sent != first:
        draft.note("output_format", f"asked {asked}, sent {sent}")


def send_style(draft: Draft, asked: str) -> None:
    keys = draft.means.styles
    if any(draft.is_own("style", key, asked=True) for key in keys):
        return
    if len(keys) == 1 and "enum" not in draft.fields[keys[0]] and draft.send(keys[0], asked):
        return
    words = [
        (key, word)
        for key in keys
        for word in draft.fields.get(key, {}).get("enum", ())
        if isinstance(word, str)
    ]
    # Whole names before last parts: "digital_illustration" must not match as a sub-style.
    for ours, theirs in ((_folded, _folded), (_folded, _last_part), (_last_part, _folded)):
        for key, word in words:
            if ours(asked) == theirs(word) and draft.send(key, word):
                return
    draft.note("style", f"{asked!r} is not one of this model's styles" if words else UNSUPPORTED)


def _folded(style: str) -> str:
    return re.sub(r"[\s_-]+", "_", style.strip().casefold())


def _last_part(style: str) -> str:
    return _folded(style.rpartition("/")[2])
