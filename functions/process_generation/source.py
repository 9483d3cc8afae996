"""Source picture and strength: under the model's own keys, in its own direction, switched on."""

from functions._shared.image_models.json_schema import nearest_number
from functions.process_generation.draft import UNSUPPORTED, Draft

SEVERAL = "the model takes several pictures, and not clearly one as the source: name it in input"


def send_source(draft: Draft, url: str | None) -> bool:
    """Whether the model takes a source picture and one is given."""
    source = draft.means.source
    if source and draft.is_own("source_image_url", source.key, asked=url is not None):
        _switch_on(draft)
        return True
    if url is None:
        return False
    if source and draft.send(source.key, source.value(url), [url], url):
        _switch_on(draft)
        return True
    draft.note(
        "source_image_url",
        SEVERAL if source is None and len(draft.means.pictures) > 1 else UNSUPPORTED,
    )
    return False


def _switch_on(draft: Draft) -> None:
    for key, value in draft.means.source.switches if draft.means.source else ():
        draft.send(key, value)


def send_strength(draft: Draft, asked: float | None, *, source: bool) -> None:
    strength = draft.means.strength
    if strength and draft.is_own("strength", strength.key, asked=asked is not None):
        return
    if asked is None:
        return
    if not source:
        draft.note("strength", "has no effect without a source image")
        return
    if strength is None:
        draft.note("strength", UNSUPPORTED)
        return
    sent = nearest_number(1 - asked if strength.turned else asked, draft.fields[strength.key])
    if not isinstance(sent, int | float) or not draft.send(strength.key, sent):
        draft.note("strength", UNSUPPORTED)
        return
    meant = round(1 - sent, 9) if strength.turned else sent
    if meant != round(asked, 9):
        draft.note("strength", f"asked {asked:g}, sent {meant:g}")
