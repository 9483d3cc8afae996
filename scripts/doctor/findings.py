"""A finding: the state of one part in one line, and where it is not well the line to type."""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a part is. Only WRONG makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will surprise somebody."""
    WRONG = "wrong"
    NOT_ASKED = "not asked"
    """Another part has to be mended first, or this login or machine cannot see it: neither well nor wrong."""


@dataclass(frozen=True)
class Finding:
    """``text``: one line, for people. ``do``: the line to type; empty where there is nothing to do."""

    state: State
    text: str
    do: str = ""


def ok(text: str) -> Finding:
    return Finding(State.OK, text)


def warning(text: str, do: str) -> Finding:
    return Finding(State.WARNING, text, do)


def wrong(text: str, do: str) -> Finding:
    return Finding(State.WRONG, text, do)


def not_asked(text: str, do: str = "") -> Finding:
    return Finding(State.NOT_ASKED, text, do)
