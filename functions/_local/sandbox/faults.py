"""Fault injection: ``[fault:name]`` in a prompt, or the header ``X-Sandbox-Fault: name``.

README.md has the list of names.
``[fault:name*3]`` happens three times, ``[fault:name*]`` always. Without a star, the faults of ``TRANSIENT`` happen
once to a prompt, so that a retry succeeds; all others happen always.
"""

import re
from collections import Counter
from collections.abc import Mapping

from functions._local.sandbox.malformed import FAILING, MALFORMED, UNENDING
from functions._local.sandbox.other_formats import OTHER_FORMATS
from functions._local.sandbox.problems import Problem

ENDINGS: Mapping[str, tuple[str, str | None]] = {
    "failed": ("failed", "RuntimeError: the model broke"),
    "interrupted": ("failed", "Prediction interrupted; please retry (code: PA)"),
    "platform": ("failed", "Director: unexpected error handling prediction (E9828)"),
    "oom": ("failed", "CUDA out of memory (E1001)"),
    "flagged": (
        "failed",
        "The input or output was flagged as sensitive. Please try again with different inputs. (E005) (abc123)",
    ),
    "nsfw": ("failed", "NSFW content detected. Try running it again, or try a different prompt."),
    "queue-full": ("failed", "Queue is full"),
    "moderated": ("failed", "Request Moderated"),
    "overloaded": ("failed", "The model is overloaded. Please try again later."),
    "error-page": (
        "failed",
        "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>",
    ),
    "unheard-of": ("failed", "frobnication of the latents"),
    "canceled": ("canceled", None),
    "aborted": ("aborted", None),
    **dict.fromkeys(FAILING, ("failed", "the model broke")),
}
"""Terminal status and error of a prediction that does not succeed."""
OUTCOMES = frozenset(
    {
        "filtered",
        "partial",
        "removed",
        "object",
        "links",
        "data-uri",
        "large-data-uri",
        "strange-status",
        "hang",
    }
)
"""Unusual but well-formed outputs and statuses of a prediction that does not fail."""
CREATE_ERRORS = frozenset(
    {
        "busy-header",
        "busy-body",
        "busy-text",
        "busy-bare",
        "busy-date",
        "busy-django",
        "error-before",
        "cut-before",
        "unauthorised",
        "no-credit",
        "gone",
        "busy-absurd",
        "odd-refusal",
    }
)
"""Error responses to a create; no prediction is made."""
LOST_ANSWERS = frozenset({"error-after", "cut-after", "slow-answer"})
"""Lost or late responses to a create whose prediction was made: to the client the outcome is unknown."""
FILE_FAULTS = frozenset(
    {
        "wrong-type",
        "not-a-picture",
        "truncated",
        "endless",
        "missing",
        "redirect-private",
        "redirect-good",
        "slow-file",
        "file-error",
        "second-foreign",
        "second-missing",
        "second-json",
        "second-busy",
        "second-down",
    }
)
WEBHOOK_FAULTS = frozenset(
    {"webhook-twice", "webhook-late", "webhook-never", "webhook-early", "webhook-forged"}
)
MALFORMED_ANSWERS = frozenset(MALFORMED) | UNENDING
TRANSIENT = (
    CREATE_ERRORS
    | LOST_ANSWERS
    | {"interrupted", "platform", "queue-full", "overloaded", "error-page"}
    | {"file-error", "second-busy"}
)
NAMES = (
    frozenset(ENDINGS)
    | OUTCOMES
    | CREATE_ERRORS
    | LOST_ANSWERS
    | FILE_FAULTS
    | OTHER_FORMATS
    | WEBHOOK_FAULTS
    | MALFORMED_ANSWERS
)

_FAULT = re.compile(r"\[fault:([a-z0-9-]+)(\*(\d*))?\]")


class Faults:
    """Parses the requested faults, and counts how often each has happened to which prompt."""

    def __init__(self) -> None:
        self._happened: Counter[tuple[str, str]] = Counter()

    def of(self, header: str, prompt: str) -> frozenset[str]:
        """The faults that apply to this create; counts them. Raises Problem for an unknown name."""
        requested = [(name, star, times) for name, star, times in _FAULT.findall(prompt)]
        requested += [(name.strip(), "", "") for name in header.split(",") if name.strip()]
        if unknown := {name for name, _, _ in requested} - NAMES:
            known = ", ".join(sorted(NAMES))
            raise Problem(400, f"Unknown fault {', '.join(sorted(unknown))}; there are {known}")
        return frozenset(
            name for name, star, times in requested if self._happens(prompt, name, star, times)
        )

    def happens_again(self, key: str, name: str) -> bool:
        """Whether a fault that applies after the create is met for the first time by ``key``."""
        return self._happens(key, name, "", "1")

    def _happens(self, prompt: str, name: str, star: str, times: str) -> bool:
        if (star and not times) or (not star and not times and name not in TRANSIENT):
            return True
        self._happened[prompt, name] += 1
        return self._happened[prompt, name] <= int(times or 1)
