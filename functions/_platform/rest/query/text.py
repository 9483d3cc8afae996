"""Scanner of one parameter's text: names, JSON paths, and syntax errors in the form of upstream's parser (parsec).

A syntax error says what was found and all that could have stood there: "unexpected X expecting A, B or C". ``tail`` is
what could have continued the token just read, as that belongs into the next error.
"""

import re
from collections.abc import Sequence
from typing import NoReturn

from functions._platform.rest.query.tree import Field, JsonStep

MAX_DEPTH = 100
"""Nesting of embeds and of and/or; deeper recursion would reach the interpreter's limit."""
BLANKS = re.compile(r"[ \t]*")
NAME = re.compile(r"[\w $]+(?:-(?!>)[\w $]+)*")
IDENTIFIER = re.compile(r"[\w $]+")
QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
INDEX = re.compile(r"-?[0-9]+(?=->|::|[.,]|\Z)")
KEY = re.compile(r"[^(\-:.,>)]+(?:-(?!>)[^(\-:.,>)]+)*")
DIGITS = re.compile(r"[0-9]*")

NAME_LABEL = "field name (* or [a..z0..9_$])"
KEY_LABEL = "any non reserved character different from: .,>()"
DELIMITER = "delimiter (.)"
END = "end of input"
IN_IDENTIFIER = ("letter", "digit")
IN_NAME = (*IN_IDENTIFIER, '"-"')
AFTER_DASH = ('">"', *IN_IDENTIFIER)
ARROWS = ('"->>"', '"->"')
AFTER_INDEX = ("digit", '"->"', '"::"', '"."', '","', END)


class Unparsable(Exception):
    """A syntax error ``at`` an offset. ``details``: what was found and what was expected."""

    def __init__(self, at: int, unexpected: str, expected: Sequence[str]) -> None:
        super().__init__()
        self.at = at
        self.unexpected = unexpected
        self.expected = tuple(dict.fromkeys(expected))

    @property
    def details(self) -> str:
        if not self.expected:
            return f"unexpected {self.unexpected}"
        *most, last = self.expected
        listed = f"{', '.join(most)} or {last}" if most else last
        return f"unexpected {self.unexpected} expecting {listed}"

    def expecting(self, *more: str) -> "Unparsable":
        return Unparsable(self.at, self.unexpected, (*self.expected, *more))


class TooDeep(Unparsable):
    """Nesting beyond MAX_DEPTH: upstream has no such bound."""

    def __init__(self, at: int) -> None:
        super().__init__(at, "nesting", ())

    @property
    def details(self) -> str:
        return f"nested more than {MAX_DEPTH} levels deep"


class Scanner:
    """A position in ``text``. Methods read a token there and move on, or raise Unparsable."""

    __slots__ = ("pos", "tail", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.tail: tuple[str, ...] = ()

    def at(self, literal: str) -> bool:
        return self.text.startswith(literal, self.pos)

    def at_end(self) -> bool:
        return self.pos == len(self.text)

    def skip(self, literal: str) -> bool:
        """Move past ``literal`` where it stands here."""
        found = self.text.startswith(literal, self.pos)
        if found:
            self.pos += len(literal)
            self.tail = ()
        return found

    def missed(self, *expected: str) -> None:
        """These could have stood here, and did not: the next error here names them."""
        self.tail = (*self.tail, *expected)

    def blanks(self) -> bool:
        """Move past blanks. Whether there were any."""
        end = _end(BLANKS, self.text, self.pos)
        if end == self.pos:
            return False
        self.pos, self.tail = end, ()
        return True

    def comma(self, items: Sequence[object]) -> bool:
        """Move past a comma and the blanks around it; blanks must be followed by one. ``items``: those before it.

        Upstream forgets behind the second item what could have continued the item, and so do its errors.
        """
        if len(items) > 1:
            self.tail = ()
        blanks = self.blanks()
        if self.skip(","):
            self.blanks()
            return True
        if blanks:
            self.fail(('","',))
        self.missed('","')
        return False

    def name(self) -> str:
        """An unquoted name of letters, digits, ``_ $ -`` and inner blanks, or a quoted one."""
        found = NAME.match(self.text, self.pos)
        if found is None:
            if self.at('"'):
                return self.quoted()
            self.fail((NAME_LABEL,))
        self.pos, self.tail = found.end(), IN_NAME[2:] if "-" in found[0] else IN_NAME
        if self.at("-") and not self.at("->"):
            self.fail(AFTER_DASH, at=self.pos + 1)
        return _stripped(found[0])

    def identifier(self) -> str:
        """Of a cast or a text search configuration: a name without dashes and quotes."""
        found = IDENTIFIER.match(self.text, self.pos)
        if found is None:
            self.fail(IN_IDENTIFIER)
        self.pos, self.tail = found.end(), IN_IDENTIFIER
        return found[0].strip()

    def quoted(self) -> str:
        """A text in double quotes, with a backslash before a quote or a backslash of its own."""
        found = QUOTED.match(self.text, self.pos)
        if found is None:
            dangling = len(self.text) - len(self.text.rstrip("\\"))  # backslashes at the end
            self.fail(() if dangling % 2 else (r'"\\"', r'"\""'), at=len(self.text))
        self.pos, self.tail = found.end(), ()
        return unescaped(found[1])

    def field(self) -> Field:
        """A name with its JSON path, in blanks."""
        self.blanks()
        field = Field(self.name(), self.json_path())
        self.blanks()
        return field

    def json_path(self) -> tuple[JsonStep, ...]:
        steps: list[JsonStep] = []
        while self.skip("->"):
            as_text = self.skip(">")
            steps.append(JsonStep(self._key(), as_text))
            self.tail = ()
        self.missed(*ARROWS)
        return tuple(steps)

    def _key(self) -> str | int:
        if index := INDEX.match(self.text, self.pos):
            self.pos = index.end()
            return int(index[0])
        if self.at('"'):
            return self.quoted()
        key = KEY.match(self.text, self.pos)
        if key is None:
            self._fail_at_key()
        self.pos = key.end()
        if self.at("-") and not self.at("->"):
            self.fail(AFTER_DASH[:1], at=self.pos + 1)
        return _stripped(key[0])

    def _fail_at_key(self) -> NoReturn:
        if not self.at("-"):
            self.fail(('"-"', "digit", KEY_LABEL))
        after = _end(DIGITS, self.text, self.pos + 1)
        if after == self.pos + 1:
            self.fail(("digit",), at=after)
        self.fail(AFTER_INDEX, at=after, or_end=True)

    def fail(
        self,
        expected: Sequence[str],
        *,
        at: int | None = None,
        or_end: bool = False,
        literal: str = "",
    ) -> NoReturn:
        raise self.failure(expected, at=at, or_end=or_end, literal=literal)

    def failure(
        self,
        expected: Sequence[str],
        *,
        at: int | None = None,
        or_end: bool = False,
        literal: str = "",
    ) -> Unparsable:
        """The error here, or ``at`` another offset.

        ``or_end``: the text could have ended there; upstream then quotes what it found in single quotes. ``literal``:
        the first text that was tried; the character at which it differs is what was found.
        """
        at = self.pos if at is None else at
        differs = at + common_prefix(literal, self.text, at)
        if differs >= len(self.text):
            return Unparsable(at, END, expected)
        quote = "'" if or_end else '"'
        return Unparsable(at, _shown(self.text[differs], quote), expected)


def unescaped(quoted: str) -> str:
    """The inside of a quoted text without its backslashes."""
    return ESCAPE.sub(r"\1", quoted) if "\\" in quoted else quoted


def position(text: str, at: int) -> str:
    """``(line 1, column 5)``; a tab moves to the next multiple of eight, as upstream counts."""
    line, column = 1, 1
    for character in text[:at]:
        if character == "\n":
            line, column = line + 1, 1
        else:
            column += 8 - (column - 1) % 8 if character == "\t" else 1
    return f"(line {line}, column {column})"


CONTROLS = (
    *(r"\NUL", r"\SOH", r"\STX", r"\ETX", r"\EOT", r"\ENQ", r"\ACK"),
    *(r"\a", r"\b", r"\t", r"\n", r"\v", r"\f", r"\r", r"\SO", r"\SI", r"\DLE"),
    *(r"\DC1", r"\DC2", r"\DC3", r"\DC4", r"\NAK", r"\SYN", r"\ETB", r"\CAN"),
    *(r"\EM", r"\SUB", r"\ESC", r"\FS", r"\GS", r"\RS", r"\US"),
)
"""Of the code points 0 to 31."""


def _shown(character: str, quote: str) -> str:
    """As Haskell's ``show`` writes a character literal."""
    code = ord(character)
    if character in {quote, "\\"}:
        shown = f"\\{character}"
    elif code < len(CONTROLS):
        shown = CONTROLS[code]
    elif code == 127:
        shown = r"\DEL"
    else:
        shown = character if code < 127 else f"\\{code}"
    return f"{quote}{shown}{quote}"


def _stripped(name: str) -> str:
    """Blanks around each part between dashes do not count."""
    return "-".join(part.strip() for part in name.split("-")) if "-" in name else name.strip()


def common_prefix(literal: str, text: str, at: int) -> int:
    """Length of what ``literal`` shares with the text at an offset."""
    length = 0
    while length < len(literal) and text[at + length : at + length + 1] == literal[length]:
        length += 1
    return length


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """The end of a match that cannot fail."""
    found = pattern.match(text, at)
    assert found is not None
    return found.end()
