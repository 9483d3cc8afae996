"""Who listens to which table, found by value: with 2,000 filters ``id=eq.…`` a change looks at one of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from functions._platform.realtime.access import Access
from functions._platform.realtime.changes.filters import Binding, Condition
from functions._platform.realtime.changes.pgoutput import Change
from functions._platform.realtime.changes.tables import Column

EXACT = frozenset(
    {"uuid", "text", "varchar", "int2", "int4", "int8", "bool", "date", "timestamp", "timestamptz"}
)
"""Types of which two values are equal exactly if their texts are; other comparisons are the server's."""


def is_exact(column: Column) -> bool:
    return column.type in EXACT or column.is_enum


@dataclass(eq=False, slots=True)
class Subscriber:
    """A channel. ``deliver``: called with the bindings' ids, and the frame's data as JSON."""

    access: Access
    deliver: Callable[[str, str], None]
    told: Callable[[str, str], None]
    """Called with status and message of a ``system`` frame."""
    listeners: list["Listener"] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Listener:
    """One binding on one table. ``equal``: column and value of the condition that the index is by."""

    id: int
    subscriber: Subscriber
    table: int
    binding: Binding
    equal: tuple[str, str] | None
    rest: tuple[Condition, ...]

    def wants(self, change: Change) -> bool:
        return self.binding.event in {"*", change.operation}


class Subscriptions:
    """The index: table → column → value → listeners."""

    def __init__(self) -> None:
        self.subscribers: set[Subscriber] = set()
        self._equal: dict[int, dict[str, dict[str, set[Listener]]]] = {}
        self._others: defaultdict[int, set[Listener]] = defaultdict(set)

    def add(self, subscriber: Subscriber, listeners: Iterable[Listener]) -> None:
        self.subscribers.add(subscriber)
        for listener in listeners:
            subscriber.listeners.append(listener)
            if listener.equal is None:
                self._others[listener.table].add(listener)
                continue
            column, value = listener.equal
            by_value = self._equal.setdefault(listener.table, {}).setdefault(column, {})
            by_value.setdefault(value, set()).add(listener)

    def remove(self, subscriber: Subscriber) -> None:
        self.subscribers.discard(subscriber)
        for listener in subscriber.listeners:
            if listener.equal is None:
                self._others[listener.table].discard(listener)
                continue
            column, value = listener.equal
            by_value = self._equal[listener.table][column]
            by_value[value].discard(listener)
            if not by_value[value]:
                del by_value[value]
        subscriber.listeners.clear()

    def of(self, change: Change) -> Iterator[Listener]:
        """The listeners whose event and indexed condition match; their other conditions are still to be asked."""
        row = change.old if change.operation == "DELETE" else change.new
        for column, by_value in self._equal.get(change.table, {}).items():
            for listener in by_value.get(row.get(column) or "", ()):
                if row.get(column) is not None and listener.wants(change):
                    yield listener
        for listener in self._others.get(change.table, ()):
            if listener.wants(change):
                yield listener
