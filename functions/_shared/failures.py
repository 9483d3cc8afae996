"""What a failure at the provider means: from its status and text to a class, from the class to what follows.

The texts are Replicate's, matched in any case; they are no stable contract, so what fits nothing has a class too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Consequence:
    """``retry``: whether another attempt may help. ``status``: of our own answer. ``text``: in place of the provider's,
    where that speaks to whoever runs this, not to the user.
    """

    retry: bool
    status: int = 500
    text: str | None = None


CLASSES: Mapping[str, Consequence] = {
    "busy": Consequence(retry=True),
    "transient": Consequence(retry=True),
    "bad_input": Consequence(retry=False, status=400),
    "unknown_model": Consequence(retry=False, status=400),
    "unauthorised": Consequence(retry=False, text="the server's Replicate token is not accepted"),
    "out_of_credit": Consequence(
        retry=False, text="the server's Replicate account is out of credit"
    ),
    "refused": Consequence(retry=False, status=400),
    "model_failed": Consequence(retry=False),
    "canceled": Consequence(retry=False),
    "timed_out": Consequence(retry=False),
}

# The first line that fits decides. Statuses of an answer; () fits any. Words: one of them is in the text; () fits any.
_ANSWERS: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...] = (
    ("busy", (429,), ()),
    ("out_of_credit", (402,), ()),
    ("out_of_credit", (), ("insufficient credit", "spend limit")),
    ("unauthorised", (401, 403), ()),
    ("unknown_model", (404, 410), ()),
    ("unknown_model", (422,), ("version does not exist", "invalid version", "version is disabled")),
    ("bad_input", (400, 405, 406, 409, 411, 413, 414, 415, 422), ()),
    ("transient", (), ()),
)
_ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("refused", ("flagged as sensitive", "nsfw", "(e005)", "content policy", "safety system")),
    ("busy", ("queue is full", "rate limit", "too many requests", "throttled")),
    ("out_of_credit", ("insufficient credit", "spend limit")),
    (
        "transient",
        (
            "please retry (code:",
            "unexpected error handling prediction",
            *(f"e{code}" for code in (1000, 6716, 8367, 8765, 9243, 9825, 9828)),
        ),
    ),
    ("model_failed", ()),
)


def class_of_answer(status: int, text: str) -> str:
    """The class of an HTTP answer that is no success."""
    folded = text.casefold()
    return next(
        name
        for name, statuses, words in _ANSWERS
        if (not statuses or status in statuses)
        and (not words or any(word in folded for word in words))
    )


def class_of_ending(text: str) -> str:
    """The class of a prediction that failed with ``text``; one that failed without a word may do better next time."""
    folded = text.casefold()
    if not folded.strip():
        return "transient"
    return next(
        name for name, words in _ENDINGS if not words or any(word in folded for word in words)
    )


def retry_after_s(header: str | None, body: object, text: str) -> float | None:
    """The wait that a 429 asks for, in seconds: by its header, its body's field, its text."""
    in_body = body.get("retry_after") if isinstance(body, dict) else None
    in_text = re.search(r"resets in ~(\d+)s", text)
    for hint in (header, in_body, in_text and in_text[1]):
        if hint is not None and re.fullmatch(r"\d+(\.\d+)?", str(hint)):
            return min(float(str(hint)), 3600)
    return None


def spacing_s(text: str) -> float | None:
    """Seconds from one prediction to the next, where a 429 says that the account is held to a rate without bursts."""
    rate = re.search(r"reduced to (\d+) requests per minute with a burst of 1\b", text)
    return 60 / int(rate[1]) if rate and int(rate[1]) else None
