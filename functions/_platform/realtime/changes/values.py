"""PostgreSQL's text form of a value → JSON, as ``to_jsonb`` writes it: numbers, booleans and documents as they are."""

import re

from functions._platform.realtime.changes.shapes import Shape
from functions._platform.realtime.changes.tables import Column
from functions._platform.realtime.frames import dumps

NUMBERS = frozenset({"int2", "int4", "int8", "float4", "float8", "numeric"})
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
JSON = frozenset({"json", "jsonb"})
TIMES = frozenset({"timestamp", "timestamptz"})
ZONE = re.compile(r"([+-]\d\d)(?= BC$|$)")
UNQUOTED_FIELD = re.compile(r"[^,)]*")


def as_json(value: str | None, column: Column | None) -> str:
    """``column`` None: the table has changed since, and the value is text."""
    if value is None:
        return "null"
    if column is None:
        return dumps(value)
    if (
        column.shape.name == "bytea"
    ):  # wal2json, which Supabase reads, leaves out the \x of a column, not of elements
        return dumps(value.removeprefix("\\x"))
    try:
        return _json(value, column.shape)
    except (ValueError, IndexError):
        # Poison message: a type altered since the row was written. It would end the feed of all subscribers.
        return dumps(value)


def _json(value: str, shape: Shape) -> str:
    if shape.fields is not None:
        return _composite(value, shape)
    if shape.element is None:
        return _scalar(value, shape.name)
    if shape.is_vector:
        return f"[{','.join(_json(one, shape.element) for one in value.split())}]"
    return _array(value, shape.element)


def _scalar(value: str, type_name: str) -> str:
    if type_name in NUMBERS and NUMBER.fullmatch(value):
        return value
    if type_name == "bool":
        return "true" if value == "t" else "false"
    if type_name in JSON:
        return value
    if type_name in TIMES and " " in value:
        return dumps(ZONE.sub(r"\1:00", value.replace(" ", "T", 1)))
    return dumps(value)


def _array(text: str, element: Shape) -> str:
    """An array literal such as ``{1,NULL,"a b",{…}}``; bounds before it (``[2:3]={…}``) are left out."""
    text = text[text.index("{") :]
    unquoted = re.compile(f"[{element.delimiter}{{}}]")
    out: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in "{}":
            out.append("[" if character == "{" else "]")
            at += 1
        elif character == element.delimiter:
            out.append(",")
            at += 1
        elif character == '"':
            value, at = _quoted(text, at + 1)
            out.append(_json(value, element))
        else:
            end = unquoted.search(text, at)
            stop = end.start() if end else len(text)
            word = text[at:stop]
            out.append("null" if word == "NULL" else _json(word, element))
            at = stop
    return "".join(out)


def _quoted(text: str, at: int) -> tuple[str, int]:
    value = []
    while text[at] != '"':
        at += text[at] == "\\"
        value.append(text[at])
        at += 1
    return "".join(value), at + 1


def _composite(text: str, shape: Shape) -> str:
    """A row literal such as ``(1,,"a b")`` → an object. Raises ValueError for another number of fields."""
    fields = shape.fields or ()
    pairs = [
        f"{dumps(name)}:{'null' if value is None else _json(value, of)}"
        for (name, of), value in zip(fields, _row(text, len(fields)), strict=True)
    ]
    return f"{{{','.join(pairs)}}}"


def _row(text: str, count: int) -> list[str | None]:
    values: list[str | None] = []
    at = 1
    while count and text[at - 1] != ")":
        if text[at] == '"':
            value, at = _quoted_field(text, at + 1)
            values.append(value)
        else:
            word = UNQUOTED_FIELD.match(text, at)
            values.append(word[0] if word and word[0] else None)
            at = word.end() if word else at
        at += 1
    return values


def _quoted_field(text: str, at: int) -> tuple[str, int]:
    """Quotes and backslashes are doubled."""
    value = []
    while not (text[at] == '"' and text[at + 1] != '"'):
        at += text[at] in '"\\'
        value.append(text[at])
        at += 1
    return "".join(value), at + 1
