"""Patterns of ADDITIONAL_REDIRECT_URLS, as GoTrue reads them (gobwas/glob with the separators ``.`` and ``/``).

``*``  any characters but separators      ``?``       one character, no separator     ``[a-z]``  ``[!abc]``
``**`` any characters                     ``{a,b}``   either                          ``\\``     the next as it is
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

MAX_ALTERNATIVES = 256
"""Of all braces of a pattern together; the ones above match nothing."""
_PIECE = re.compile(
    r"\\(?P<plain>.)|(?P<all>\*\*+)|(?P<some>\*)|(?P<one>\?)|\[(?P<not>!)?(?P<set>[^\]]+)\]|(?P<brace>[{},])|(?P<text>.)"
)


@dataclass(frozen=True)
class _Step:
    """One character that fullmatches ``one``; ``repeats``: any number of them."""

    one: re.Pattern[str]
    repeats: bool = False


def matches(pattern: str, text: str) -> bool:
    """In time linear in ``text`` (ReDoS): all states are followed at once, nothing is tried again."""
    return any(_follows(steps, text) for steps in _alternatives(pattern))


def _follows(steps: tuple[_Step, ...], text: str) -> bool:
    states = _reached(steps, {0})
    for character in text:
        after = set()
        for state in states:
            if state < len(steps) and steps[state].one.fullmatch(character):
                after.add(state if steps[state].repeats else state + 1)
        states = _reached(steps, after)
        if not states:
            return False
    return len(steps) in states


def _reached(steps: tuple[_Step, ...], states: set[int]) -> set[int]:
    """With the states behind repeated steps, which may match nothing."""
    reached = set()
    for state in states:
        reached.add(state)
        while state < len(steps) and steps[state].repeats:
            state += 1
            reached.add(state)
    return reached


@lru_cache(maxsize=256)
def _alternatives(pattern: str) -> tuple[tuple[_Step, ...], ...]:
    """The pattern without its braces: one sequence of steps for each choice."""
    pieces = list(_PIECE.finditer(pattern))
    return tuple(_sequence(pieces, 0)[0])


def _sequence(pieces: list[re.Match[str]], depth: int) -> tuple[list[tuple[_Step, ...]], str]:
    """Consume ``pieces`` up to the end of this choice; its sequences, and the brace or comma that ended it."""
    found: list[tuple[_Step, ...]] = [()]
    while pieces:
        piece = pieces.pop(0)
        brace = piece["brace"]
        if brace == "{":
            choices, end = [], ","
            while end == ",":
                more, end = _sequence(pieces, depth + 1)
                choices += more
        elif brace and depth:
            return found, brace
        else:
            choices = [(_step(piece),)]
        found = [one + other for one, other in product(found, choices)][:MAX_ALTERNATIVES]
    return found, ""


def _step(piece: re.Match[str]) -> _Step:
    if piece["all"]:
        return _Step(_regex("."), repeats=True)
    if piece["some"]:
        return _Step(_regex("[^./]"), repeats=True)
    if piece["one"]:
        return _Step(_regex("[^./]"))
    if piece["set"]:
        escaped = re.sub(r"([\\\]^\[&~|])", r"\\\1", piece["set"])
        return _Step(_regex(f"[{'^' if piece['not'] else ''}{escaped}]"))
    return _Step(_regex(re.escape(piece["plain"] or piece["brace"] or piece["text"])))


def _regex(source: str) -> re.Pattern[str]:
    """Of one character; a malformed set ([z-a]) matches none."""
    try:
        return re.compile(source, re.DOTALL)
    except re.error:
        return re.compile("(?!)")
