"""PostgreSQL's text form of a value → JSON, as ``to_jsonb`` writes it: numbers, booleans and documents as they are."""

import re

from functions._platform.realtime.changes.tables import Column
from functions._platform.realtime.frames import dumps

NUMBERS = frozenset({"int2", "int4", "int8", "float4", "float8", "numeric"})
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
JSON = frozenset({"json", "jsonb"})
TIMES = frozenset({"timestamp", "timestamptz"})
ZONE = re.compile(r"([+-]\d\d)$")


def as_json(value: str | None, column: Column | None) -> str:
    """``column`` None: the table has changed since, and the value is text."""
    if value is None:
        return "null"
    if column is None:
        return dumps(value)
    if column.element:
        return _array(value, column.element)
    return _scalar(value, column.base)


def _scalar(value: str, type_name: str) -> str:
    if type_name in NUMBERS and NUMBER.fullmatch(value):
        return value
    if type_name == "bool":
        return "true" if value == "t" else "false"
    if type_name in JSON:
        return value
    if type_name == "bytea":
        return dumps(value.removeprefix("\\x"))
    if type_name in TIMES and " " in value:
        return dumps(ZONE.sub(r"\1:00", value.replace(" ", "T", 1)))
    return dumps(value)


def _array(text: str, element: str) -> str:
    """An array literal such as ``{1,NULL,"a b",{…}}``; bounds before it (``[2:3]={…}``) are left out."""
    text = text[text.index("{") :]
    out: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in "{}":
            out.append("[" if character == "{" else "]")
            at += 1
        elif character in ",;":
            out.append(",")
            at += 1
        elif character == '"':
            value, at = _quoted(text, at + 1)
            out.append(_scalar(value, element))
        else:
            end = re.compile(r"[,{}]").search(text, at)
            stop = end.start() if end else len(text)
            word = text[at:stop]
            out.append("null" if word == "NULL" else _scalar(word, element))
            at = stop
    return "".join(out)


def _quoted(text: str, at: int) -> tuple[str, int]:
    value = []
    while text[at] != '"':
        at += text[at] == "\\"
        value.append(text[at])
        at += 1
    return "".join(value), at + 1
