"""Pieces of SQL: text that comes from this program or the catalogue, quoted identifiers, and bound values.

SQL injection: a statement is a list of pieces until it is rendered, when each value becomes a parameter (``$1``,
``$2``, …). Of the request only quoted identifiers are part of the text.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from psycopg import sql

from functions._platform.rest import errors
from functions._platform.rest.catalogue.model import Name
from functions._platform.rest.errors import RestError

UNKNOWN, BYTEA, TEXT, JSON, TEXT_ARRAY, JSONB = 0, 17, 25, 114, 1009, 3802
"""Type OIDs of parameters. PostgreSQL infers the type of an unknown one from its context, as of a literal."""


class Value(NamedTuple):
    """A parameter, in the text format unless ``binary``."""

    data: bytes | None
    type: int = UNKNOWN
    binary: bool = False


class Body(NamedTuple):
    """The request's body as a parameter, in the binary format: the text format ends at a NUL byte.

    ``prefix``: bytes before it. It is filled in when a statement is sent: one that is kept for later does not hold it.
    """

    type: int
    prefix: bytes = b""


Piece = str | Value | Body
Fragment = list[Piece]


class Statement(NamedTuple):
    text: bytes
    values: tuple[Value, ...]


class Template(NamedTuple):
    """A statement without the request's body."""

    text: bytes
    values: tuple[Value | Body, ...]

    def filled(self, body: bytes = b"") -> Statement:
        filled = (
            value if isinstance(value, Value) else Value(value.prefix + body, value.type, True)
            for value in self.values
        )
        return Statement(self.text, tuple(filled))


def bound(text: str, type_oid: int = UNKNOWN) -> Value:
    """A lone surrogate, which UTF-8 cannot encode, becomes a question mark. Raises RestError for a NUL."""
    if "\0" in text:
        raise errors.unstorable_text("0x00")
    return Value(text.encode(errors="replace"), type_oid)


def bound_array(texts: Iterable[str], type_oid: int = UNKNOWN) -> Value:
    """An array literal, quoted throughout: an empty element or ``null`` is a text."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return bound("{" + ",".join(f'"{text}"' for text in escaped) + "}", type_oid)


@lru_cache(maxsize=4096)
def quoted(name: str) -> str:
    """An identifier. No identifier has a NUL: it is cut there, as C would. Raises RestError for an empty one."""
    plain = name.partition("\0")[0].encode(errors="replace").decode()
    if not plain:
        raise RestError(400, "42601", 'zero-length delimited identifier at or near """"')
    return sql.Identifier(plain).as_string()


def qualified(name: Name) -> str:
    return f"{quoted(name.schema)}.{quoted(name.name)}" if name.schema else quoted(name.name)


def joined(separator: str, fragments: Iterable[Fragment]) -> Fragment:
    pieces: Fragment = []
    for fragment in fragments:
        if pieces:
            pieces.append(separator)
        pieces += fragment
    return pieces


def render(fragment: Fragment) -> Template:
    values: list[Value | Body] = []
    texts: list[str] = []
    for piece in fragment:
        if isinstance(piece, str):
            texts.append(piece)
        else:
            values.append(piece)
            texts.append(f"${len(values)}")
    return Template("".join(texts).encode(), tuple(values))
