"""The provider's failures as exceptions: what each class means for retries, for our HTTP status and for its text.

GenerationFailed
└── Failure              any failed call; ``error_class`` is one of CLASSES
    ├── NotCreated       nothing was created: creating again pays once
    ├── MaybeCreated     outcome unknown
    ├── PredictionOver   the prediction is terminal without a picture
    └── Unreadable       a response that cannot be parsed
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from functions._shared import foreign
from functions._shared.errors import GenerationFailed
from functions._shared.provider import classify, waits
from functions._shared.provider.answers import Answer

log = logging.getLogger(__name__)

UNHINTED_S = 10.0
"""The wait after a 429 that names none."""
MAX_TEXT = 2000


@dataclass(frozen=True, kw_only=True)
class Consequence:
    """``retry``: whether another attempt may succeed. ``status``: of our own HTTP response.

    ``text`` replaces the provider's where that addresses the account's owner, not the user.
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
    "forbidden": Consequence(
        retry=False, text="the server's Replicate account may not use this model"
    ),
    "out_of_credit": Consequence(
        retry=False, text="the server's Replicate account is out of credit"
    ),
    "refused": Consequence(retry=False, status=400),
    "model_failed": Consequence(retry=False),
    "canceled": Consequence(retry=False),
    "timed_out": Consequence(retry=False),
}


class Failure(GenerationFailed):
    """A failed call. Its class decides ``retry``, unless given, and ``status``.

    ``retry_after_s``: the wait that the provider asks for. ``spacing_s``: the least seconds between two creates.
    """

    def __init__(
        self,
        message: str,
        *,
        error_class: str = "transient",
        retry: bool | None = None,
        retry_after_s: float | None = None,
        spacing_s: float | None = None,
    ) -> None:
        consequence = CLASSES[error_class]
        super().__init__(
            message,
            retry=consequence.retry if retry is None else retry,
            retry_after_s=retry_after_s,
            error_class=error_class,
        )
        self.status = consequence.status
        self.spacing_s = spacing_s


class NotCreated(Failure):
    """Nothing was created: the request was refused, or never sent. Creating again is safe."""


class MaybeCreated(Failure):
    """Outcome unknown: the request was sent, no valid response came back; search for the prediction before creating
    another.
    """


class PredictionOver(Failure):
    """Terminal without a picture: a retry needs a new prediction."""


class Unreadable(Failure):
    """A response that is malformed, too large or endless; the next one may be valid."""

    def __init__(self) -> None:
        super().__init__("Replicate's answer was not understood")


F = TypeVar("F", bound=Failure)


def for_users(error_class: str, told: str) -> str:
    """What users read of a provider's text: one that addresses the account's owner is replaced, and logged."""
    in_place = CLASSES[error_class].text
    if in_place:
        log.error("Replicate said: %s", told[:MAX_TEXT])
    return (in_place or told)[:MAX_TEXT]


def failure_of(kind: type[F], answer: Answer, redacted: Callable[[str], str]) -> F:
    """The exception for a response that is no success; ``redacted`` removes secrets from the provider's text."""
    text, title = redacted(answer.text), ""
    if isinstance(answer.document, dict | list):
        text = redacted(foreign.in_words(answer.document))
    if isinstance(answer.document, dict):  # an RFC 7807 problem
        title = foreign.in_words(answer.document.get("title"))
    if answer.location:
        text = f"it has moved to {redacted(answer.location)}"
    elif re.match(r"\s*(<|$)", text):  # a proxy's HTML page, or nothing
        text = answer.reason
    error_class = classify.class_of_answer(answer.status, f"{text} {title}")
    wait_s = None
    if error_class == "busy":
        wait_s = waits.wait_s(answer.limits, answer.document, text) or UNHINTED_S
    return kind(
        f"Replicate API error ({answer.status}): {for_users(error_class, text)}",
        error_class=error_class,
        retry_after_s=wait_s,
        spacing_s=waits.spacing_s(text),
    )


def forgotten() -> PredictionOver:
    """The provider answers 404 for a prediction: it deletes old ones. A new one may be created."""
    return PredictionOver("The provider no longer knows the prediction")
