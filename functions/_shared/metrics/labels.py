"""Bounded labels (cardinality): each label value is a time series for ever, so no caller may make up new ones."""

import re
from collections.abc import Iterable

OTHER = "other"
PLAIN = re.compile(r"[A-Za-z0-9][\w./:-]{0,99}", re.ASCII)
"""Names of job types and models; a prompt, an address or an e-mail is none."""


class Bounded:
    """The first ``most`` plain values pass as they are; all others are OTHER."""

    def __init__(self, most: int, known: Iterable[str] = ()) -> None:
        self._most = most
        self._seen = set(known)

    def __call__(self, value: object) -> str:
        if isinstance(value, str):
            if value in self._seen:
                return value
            if len(self._seen) < self._most and PLAIN.fullmatch(value):
                self._seen.add(value)
                return value
        return OTHER


METHODS = Bounded(
    9, ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "LOCK")
)
JOB_TYPES = Bounded(50)
ERROR_CLASSES = Bounded(50, ("",))
MODELS = Bounded(200)
