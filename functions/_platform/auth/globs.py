"""Patterns of ADDITIONAL_REDIRECT_URLS, as GoTrue reads them (gobwas/glob with the separators ``.`` and ``/``).

``*``  any characters but separators      ``?``       one character, no separator     ``[a-z]``  ``[!abc]``
``**`` any characters                     ``{a,b}``   either                          ``\\``     the next as it is
"""

import re
from functools import lru_cache

_PIECE = re.compile(
    r"\\(?P<plain>.)|(?P<all>\*\*+)|(?P<some>\*)|(?P<one>\?)|\[(?P<not>!)?(?P<set>[^\]]+)\]|(?P<brace>[{},])|(?P<text>.)"
)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for ``fullmatch``."""
    depth, parts = 0, []
    for piece in _PIECE.finditer(pattern):
        brace = piece["brace"]
        if brace == "{":
            depth, part = depth + 1, "(?:"
        elif brace == "}" and depth:
            depth, part = depth - 1, ")"
        elif brace == "," and depth:
            part = "|"
        else:
            part = _translated(piece)
        parts.append(part)
    return re.compile("".join(parts) + ")" * depth, re.DOTALL)


def _translated(piece: re.Match[str]) -> str:
    if piece["all"]:
        return ".*"
    if piece["some"]:
        return "[^./]*"
    if piece["one"]:
        return "[^./]"
    if piece["set"]:
        escaped = re.sub(r"([\\\]^\[&~|])", r"\\\1", piece["set"])
        return f"[{'^' if piece['not'] else ''}{escaped}]"
    return re.escape(piece["plain"] or piece["brace"] or piece["text"])
