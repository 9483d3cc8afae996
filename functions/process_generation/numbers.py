"""Steps, guidance, seed and count: the nearest numbers that the model takes."""

from collections.abc import Callable

from functions._shared.generation import RANDOM_SEED
from functions._shared.image_models.json_schema import most_within, nearest_number, nearest_seed
from functions._shared.image_models.meaning.roles import SERIES_KEY, is_zero_random
from functions.process_generation.draft import UNSUPPORTED, Draft

MOST_PICTURES = 15
"""The most pictures of a series, the source picture included (seedream)."""


def send_number(draft: Draft, name: str, key: str | None, asked: float | None) -> None:
    """``key``: the property that means the request's field ``name``, if the model has one."""
    if asked is None or draft.is_own(name, key, asked=True):
        return
    sent = nearest_number(asked, draft.fields[key]) if key else None
    if key is None or sent is None or not draft.send(key, sent):
        draft.note(name, UNSUPPORTED)
    elif float(sent) != asked:
        draft.note(name, f"asked {asked:g}, sent {float(sent):g}")


def send_seed(draft: Draft, asked: int | None, new_seed: Callable[[], int]) -> None:
    """``new_seed`` makes a seed where one is needed, or a random one is asked for."""
    key = draft.means.seed
    if draft.is_own("seed", key, asked=asked is not None):
        return
    if asked is None and not (key and (draft.model.random_seed or draft.needs(key))):
        return
    seed = new_seed() if asked in (None, RANDOM_SEED) else asked
    if key and not seed and is_zero_random(draft.fields[key]):
        seed = 1  # the same picture each time, as asked
    sent = nearest_seed(seed or 0, draft.fields[key]) if key else None
    if key is None or not draft.send(key, sent):
        if asked not in (None, RANDOM_SEED):  # without a seed the model's own is random
            draft.note("seed", UNSUPPORTED)
    elif asked == RANDOM_SEED:
        draft.note("seed", f"random, sent {sent}")
    elif asked not in (None, sent):
        draft.note("seed", f"asked {asked}, sent {sent}")


def send_count(draft: Draft, asked: int | None, *, source: bool) -> None:
    """One picture where no number is asked for, never more than asked: each is paid for."""
    key = draft.means.count
    if draft.is_own("num_outputs", key, asked=asked is not None):
        return
    sent = 1.0
    wanted = asked or 1
    series = SERIES_KEY in draft.fields
    if key and not (series and wanted > 1 and not draft.send(SERIES_KEY, "auto")):
        limits = draft.fields[key]
        wanted = min(wanted, MOST_PICTURES - source) if series else wanted
        default = limits.get("default", 1)
        if str(wanted) != str(default) or draft.needs(key):
            draft.send(key, most_within(wanted, limits))
        sent = _as_number(draft.input.get(key, default))
    if asked and sent != asked:
        draft.note("num_outputs", f"asked {asked}, sent {sent:g}")


def _as_number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 1.0
