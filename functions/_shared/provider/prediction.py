"""A prediction of the provider, parsed once and type-checked: each field has its own type, or is absent."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from functions._shared import foreign
from functions._shared.provider.classify import recognised
from functions._shared.provider.failures import PredictionOver, for_users
from functions._shared.provider.redaction import redacted

log = logging.getLogger(__name__)

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
STATUSES = TERMINAL | {"starting", "queued", "processing"}
UNKNOWN = "unknown"
"""In place of an undocumented status: not terminal, so that polling goes on until the time limit."""

PLAIN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,127}", re.ASCII)
"""Path traversal: ids are put into paths of the API, and must not lead to another path."""
MAX_SECONDS = 86_400
MAX_ERROR = 2000
LOGGED_ERROR = 200
"""Characters of a failure's text that no rule recognises, as the log and the view unrecognised_failures show it."""
MAX_LOGS = 4096
"""Characters kept of the logs, the last ones: progress is parsed from the last line."""
MAX_ADDRESS = 8192
"""Characters of an output's or callback's URL; a data URI is bounded by the size of the response."""
MAX_OUTPUTS = 64
PICTURE_KEYS = ("image", "images", "output", "url")
PICTURE_WORD = re.compile(r"image|img|picture|photo|png|jpe?g|webp|svg", re.IGNORECASE)
"""In a key of an output object: its value is a picture's URL, where none of PICTURE_KEYS is."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """``status`` is one of STATUSES, or UNKNOWN. ``seconds``: from the request to the end, by the provider's clock.

    ``output`` are the pictures' URLs; ``error`` is text, whatever type was sent; ``logs`` are their last characters.
    """

    id: str
    status: str
    output: tuple[str, ...] = ()
    error: str = ""
    logs: str = ""
    seconds: float | None = None
    data_removed: bool = False
    model: str | None = None
    version: str | None = None
    input: dict[str, Any] = field(default_factory=dict)
    webhook: str | None = None


def read_prediction(document: Any) -> Prediction:
    """Raises ValueError for a document that is no object, or has no status or no id that fits into a path."""
    if not isinstance(document, dict) or "status" not in document:
        raise ValueError("not a prediction")
    found, status = document.get("id"), document["status"]
    if not isinstance(found, str) or not PLAIN_ID.fullmatch(found):
        raise ValueError("not the id of a prediction")
    given = document.get("input")
    return Prediction(
        id=found,
        status=status if isinstance(status, str) and status in STATUSES else UNKNOWN,
        output=_outputs(document.get("output")),
        error=_error(document.get("error")),
        logs=(_word(document.get("logs")) or "")[-MAX_LOGS:],
        seconds=_seconds(document.get("metrics")),
        data_removed=document.get("data_removed") is True,
        model=_word(document.get("model"), MAX_ADDRESS),
        version=_word(document.get("version"), MAX_ADDRESS),
        input=given if isinstance(given, dict) else {},
        webhook=_word(document.get("webhook"), MAX_ADDRESS),
    )


def outputs_of(prediction: Prediction) -> Sequence[str]:
    """The URLs of a terminal prediction's pictures. Raises PredictionOver where there are none."""
    match prediction.status:
        case "succeeded":
            if prediction.output:
                return prediction.output
            if prediction.data_removed:
                raise PredictionOver(
                    "The provider has removed the image before it could be fetched"
                )
            raise PredictionOver(
                "The provider returned no image: it was filtered or has been removed",
                error_class="refused",
            )
        case "aborted":
            raise PredictionOver(
                "The provider did not begin in time",
                error_class="timed_out",
                retry=True,  # it was never run, nor billed
            )
        case "canceled":
            raise PredictionOver("The provider's prediction was canceled", error_class="canceled")
    error_class = _class_of(prediction)
    told = for_users(error_class, prediction.error or "The model failed without a reason")
    raise PredictionOver(told, error_class=error_class)


def _class_of(prediction: Prediction) -> str:
    """The class of a failed prediction. A text that no rule recognises is logged, so that the rules can follow."""
    said = [value for value in prediction.input.values() if isinstance(value, str)]
    found = recognised(prediction.error, said)
    if found is None:
        log.warning(
            "prediction %s of %s failed, no rule recognises the text: %s",
            prediction.id,
            prediction.model,
            prediction.error[:LOGGED_ERROR],
        )
    return found or "model_failed"


def _error(error: Any) -> str:
    if error is None:  # of nearly all, thousands in a poller's round
        return ""
    return redacted(foreign.text(foreign.in_words(_unpacked(error)), MAX_ERROR))


def _unpacked(error: Any) -> Any:
    """An error of which the text is JSON again, as the JSON's value."""
    if isinstance(error, str) and len(error) <= MAX_LOGS and error.strip()[:1] in {"{", "["}:
        try:
            return foreign.read_json(error.encode("utf-8", "replace"))
        except ValueError:
            return error
    return error


def _seconds(metrics: Any) -> float | None:
    if not isinstance(metrics, dict):
        return None
    total = foreign.number(metrics.get("total_time"), 0, MAX_SECONDS)
    return (
        total if total is not None else foreign.number(metrics.get("predict_time"), 0, MAX_SECONDS)
    )


def _word(value: Any, most: int | None = None) -> str | None:
    """``value`` where it is text of ``most`` characters at most, else None."""
    return value if isinstance(value, str) and (most is None or len(value) <= most) else None


def _outputs(output: Any) -> tuple[str, ...]:
    return () if output is None else tuple(islice(_addresses(output), MAX_OUTPUTS))


def _addresses(output: Any) -> Iterator[str]:
    """URLs in the forms that models give their output: a string, a list, an object, an object or list of those.

    Of an object only the first of PICTURE_KEYS that has any counts, else the keys that name a picture, else all: its
    other links (more_info_url, json, video) are no pictures.
    """
    if isinstance(output, str):
        web = output.startswith(("https://", "http://"))
        if (web and len(output) <= MAX_ADDRESS) or output.startswith("data:"):
            yield output
    elif isinstance(output, dict):
        # Each value is in one choice only: a value that is looked at twice on each level takes exponential time.
        others = {key: value for key, value in output.items() if key not in PICTURE_KEYS}
        named = [value for key, value in others.items() if PICTURE_WORD.search(key)]
        rest = [value for key, value in others.items() if not PICTURE_WORD.search(key)]
        choices = [*(output[key] for key in PICTURE_KEYS if key in output), named, rest]
        found = (tuple(islice(_addresses(choice), MAX_OUTPUTS)) for choice in choices)
        yield from next(filter(None, found), ())
    elif isinstance(output, list):
        for part in output:
            yield from _addresses(part)
