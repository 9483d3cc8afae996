"""Aliases within one statement."""

from itertools import count

MAX_BYTES = 63
"""NAMEDATALEN - 1: PostgreSQL truncates longer identifiers, and two embeds could end up with the same one."""


class Aliases:
    def __init__(self) -> None:
        self._numbers = count(1)

    def named(self, *parts: str) -> str:
        """The parts joined by underscores, as errors of PostgreSQL quote them; a long name is cut and numbered."""
        name = "_".join(parts)
        if len(name.encode()) <= MAX_BYTES:
            return name
        number = f"_{next(self._numbers)}"
        return name.encode()[: MAX_BYTES - len(number)].decode(errors="ignore") + number
