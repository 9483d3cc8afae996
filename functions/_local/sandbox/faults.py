"""Faults on demand: ``[fault:name]`` in a prompt, or the header ``X-Sandbox-Fault: name``. README.md has the list.

``[fault:name*3]`` three times, ``[fault:name*]`` always. Without a number, those of ``ONCE`` happen once to a prompt,
which then works; the others always.
"""

import re
from collections import Counter
from collections.abc import Mapping

from functions._local.sandbox.absurd import ABSURD, FAILING, SLOW
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
    "canceled": ("canceled", None),
    "aborted": ("aborted", None),
    **dict.fromkeys(FAILING, ("failed", "the model broke")),
}
"""How a prediction ends instead of succeeding: its status and its error."""
SUCCESSES = frozenset(
    {"filtered", "partial", "removed", "object", "data-uri", "strange-status", "hang"}
)
REFUSALS = frozenset(
    {
        "busy-header",
        "busy-body",
        "busy-text",
        "busy-bare",
        "error-before",
        "cut-before",
        "unauthorised",
        "no-credit",
        "gone",
        "busy-absurd",
        "odd-refusal",
    }
)
"""Answers to a create that makes nothing."""
LOST = frozenset({"error-after", "cut-after", "slow-answer"})
"""Answers to a create that has made its prediction."""
FILES = frozenset(
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
    }
)
WEBHOOKS = frozenset(
    {"webhook-twice", "webhook-late", "webhook-never", "webhook-early", "webhook-forged"}
)
ODD = frozenset(ABSURD) | SLOW
ONCE = REFUSALS | LOST | {"interrupted", "platform", "queue-full", "file-error"}
NAMES = frozenset(ENDINGS) | SUCCESSES | REFUSALS | LOST | FILES | WEBHOOKS | ODD

_FAULT = re.compile(r"\[fault:([a-z-]+)(\*(\d*))?\]")


class Faults:
    """Counts how often each has happened to which prompt."""

    def __init__(self) -> None:
        self._happened: Counter[tuple[str, str]] = Counter()

    def of(self, header: str, prompt: str) -> frozenset[str]:
        """The faults of this create. Raises Problem for an unknown name."""
        asked = [(name, star, times) for name, star, times in _FAULT.findall(prompt)]
        asked += [(name.strip(), "", "") for name in header.split(",") if name.strip()]
        if unknown := {name for name, _, _ in asked} - NAMES:
            known = ", ".join(sorted(NAMES))
            raise Problem(400, f"Unknown fault {', '.join(sorted(unknown))}; there are {known}")
        return frozenset(
            name for name, star, times in asked if self._happens(prompt, name, star, times)
        )

    def happens_again(self, key: str, name: str) -> bool:
        """For a fault that is met later than the create: whether this is its first time for ``key``."""
        return self._happens(key, name, "", "1")

    def _happens(self, prompt: str, name: str, star: str, times: str) -> bool:
        if (star and not times) or (not star and not times and name not in ONCE):
            return True
        self._happened[prompt, name] += 1
        return self._happened[prompt, name] <= int(times or 1)
