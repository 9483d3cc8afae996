"""The logical replication protocol of PostgreSQL, version 1 (plugin pgoutput): bytes → begin, relation, row changes."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Change:
    """One row's change. Values are PostgreSQL's text.

    ``unchanged``: columns of ``new`` whose value is out of line (TOAST) and did not change: it is not in the log.
    ``old``: the key's columns, where they changed or the row is gone; all columns with ``replica identity full``.
    ``types``: the columns' types (oid) when the row was written; empty where they are those of now.
    """

    table: int
    operation: str
    committed_at: datetime
    new: dict[str, str | None] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    old: dict[str, str | None] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the following changes have it. It is sent again after each change of the table."""

    table: int
    columns: tuple[str, ...]
    key: frozenset[str]
    types: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Commit:
    """``end``: the log position to confirm once everything before it is delivered."""

    end: int


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 1

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(f">{form}", self._data, self._at)
        self._at += struct.calcsize(f">{form}")
        return int(value)

    def text(self) -> str:
        end = self._data.index(0, self._at)
        value = self._data[self._at : end].decode()
        self._at = end + 1
        return value

    def counted(self) -> str:
        size = self.take("i")
        value = self._data[self._at : self._at + size].decode()
        self._at += size
        return value


class Decoder:
    """Keeps the relations and the running transaction's time. ``in_transaction``: its commit has not come yet."""

    def __init__(self) -> None:
        self.in_transaction = False
        self._relations: dict[int, Relation] = {}
        self._committed_at = EPOCH

    def decode(self, data: bytes) -> Change | Relation | Commit | None:
        """None for messages that change no row."""
        source = _Bytes(data)
        match data[:1]:
            case b"B":
                self.in_transaction = True
                source.take("q")
                self._committed_at = EPOCH + timedelta(microseconds=source.take("q"))
            case b"C":
                self.in_transaction = False
                source.take("b")
                source.take("q")
                return Commit(source.take("q"))
            case b"R":
                return self._relation(source)
            case b"I" | b"U" | b"D":
                return self._change(data[:1], source)
        return None

    def _relation(self, source: _Bytes) -> Relation:
        table = source.take("I")
        source.text()
        source.text()
        source.take("b")
        columns, key, types = [], set(), {}
        for _ in range(source.take("h")):
            is_key = source.take("b") & 1
            name = source.text()
            types[name] = source.take("I")
            source.take("i")
            columns.append(name)
            if is_key:
                key.add(name)
        relation = Relation(table, tuple(columns), frozenset(key), types)
        self._relations[table] = relation
        return relation

    def _change(self, kind: bytes, source: _Bytes) -> Change:
        relation = self._relations[source.take("I")]
        operation = {b"I": "INSERT", b"U": "UPDATE", b"D": "DELETE"}[kind]
        change = Change(relation.table, operation, self._committed_at, types=relation.types)
        part = chr(source.take("B"))
        if part in "KO":
            old, _ = _tuple(source, relation)
            wanted = relation.columns if part == "O" else relation.key
            change.old = {name: value for name, value in old.items() if name in wanted}
            part = chr(source.take("B")) if kind == b"U" else ""
        if part == "N":
            change.new, change.unchanged = _tuple(source, relation)
            _fill(change)
        return change


def _tuple(source: _Bytes, relation: Relation) -> tuple[dict[str, str | None], list[str]]:
    values: dict[str, str | None] = {}
    unchanged = []
    count = source.take("h")
    for name in relation.columns[:count]:
        match chr(source.take("B")):
            case "t":
                values[name] = source.counted()
            case "u":
                unchanged.append(name)
            case _:
                values[name] = None
    return values, unchanged


def _fill(change: Change) -> None:
    """With ``replica identity full`` the old row has the out-of-line values as well."""
    old: Mapping[str, str | None] = change.old
    for name in [name for name in change.unchanged if name in old]:
        change.new[name] = old[name]
        change.unchanged.remove(name)
