"""A batch of changes → frames: filters, then row level security, then each subscriber's frames in commit order."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence

from functions._platform.realtime.access import Access
from functions._platform.realtime.changes import payload
from functions._platform.realtime.changes.conditions import Comparison, holding
from functions._platform.realtime.changes.pgoutput import Change
from functions._platform.realtime.changes.subscriptions import (
    Listener,
    Subscriber,
    Subscriptions,
)
from functions._platform.realtime.changes.tables import Table, Tables
from functions._platform.realtime.changes.visibility import (
    Answer,
    Question,
    answers,
    key_of,
)
from functions._shared.database.pool import Pool

Matches = list[tuple[int, Change, Table, list[Listener]]]
"""Number, change, its table, and the listeners whose filters match."""
Key = tuple[int, str, str]


class Delivery:
    def __init__(self, pool: Pool, tables: Tables, subscriptions: Subscriptions) -> None:
        self._pool = pool
        self._tables = tables
        self._subscriptions = subscriptions

    async def deliver(self, changes: Sequence[Change]) -> None:
        """All or nothing: raises psycopg.OperationalError while there is no database, before any frame is sent."""
        matches = await self._matching(changes)
        access = {one.subscriber: one.subscriber.access for *_, own in matches for one in own}
        visible = {**await self._visible(matches, access)}
        # A token that was renewed meanwhile: the answers are not for its rows (time of check, time of use).
        while renewed := {one for one in access if one.access is not access[one]}:
            access |= {one: one.access for one in renewed}
            visible |= await self._visible(_of(renewed, matches), access)
        made: dict[tuple[int, frozenset[str], Key], str] = {}
        for number, change, table, listeners in matches:
            for subscriber, own in _by_subscriber(listeners).items():
                key = key_of(access[subscriber], table)
                answer = visible.get(key)
                own = [one for one in own if _may_ask(one, answer)]
                text = _shown(number, change, table, own, answer, made, key) if own else None
                if text is not None:
                    subscriber.deliver(",".join(str(one.id) for one in own), text)

    async def _matching(self, changes: Sequence[Change]) -> Matches:
        found: Matches = []
        asked: list[Comparison] = []
        for number, change in enumerate(changes):
            listeners = list(self._subscriptions.of(change))
            table = await self._tables.get(change.table) if listeners else None
            if table:
                found.append((number, change, table, listeners))
                for listener in listeners:
                    asked += _comparisons(listener, change, table) or []
        holds = await holding(self._pool, asked) if asked else {}
        return [
            (number, change, table, matching)
            for number, change, table, listeners in found
            if (matching := [one for one in listeners if _holds(one, change, table, holds)])
        ]

    async def _visible(
        self, matches: Matches, access: Mapping[Subscriber, Access]
    ) -> Mapping[Key, Answer | None]:
        rows: defaultdict[Key, dict[int, Change]] = defaultdict(dict)
        tables: dict[Key, Table] = {}
        for number, change, table, listeners in matches:
            for listener in listeners:
                key = key_of(access[listener.subscriber], table)
                tables[key] = table
                if change.operation != "DELETE" and table.key:
                    rows[key][number] = change
        questions = [
            Question(table, key[1], key[2], rows.get(key, {}))
            for key, table in tables.items()
            if table.key
        ]
        given = await answers(self._pool, questions) if questions else []
        return {
            (question.table.oid, question.role, question.claims_json): answer
            for question, answer in zip(questions, given, strict=True)
        }


def _by_subscriber(listeners: Sequence[Listener]) -> Mapping[Subscriber, list[Listener]]:
    """One frame a channel, with the ids of all its bindings that match."""
    found: dict[Subscriber, list[Listener]] = {}
    for listener in listeners:
        found.setdefault(listener.subscriber, []).append(listener)
    return found


def _of(subscribers: Container[Subscriber], matches: Matches) -> Matches:
    return [
        (number, change, table, [one for one in listeners if one.subscriber in subscribers])
        for number, change, table, listeners in matches
    ]


def _may_ask(listener: Listener, answer: Answer | None) -> bool:
    """A filter on a column that the role may not select would tell its values (oracle)."""
    return answer is None or {one.column for one in listener.binding.conditions} <= answer.columns


def _comparisons(listener: Listener, change: Change, table: Table) -> list[Comparison] | None:
    """None: a column is not in the row, as all but the key of a deleted one; such a filter matches nothing."""
    row = change.old if change.operation == "DELETE" else change.new
    found: list[Comparison] = []
    for condition in listener.rest:
        column = table.columns.get(condition.column)
        if column is None or column.name not in row:
            return None
        found.append((condition, column.cast_type, row[column.name]))
    return found


def _holds(
    listener: Listener, change: Change, table: Table, holds: Mapping[Comparison, bool]
) -> bool:
    asked = _comparisons(listener, change, table)
    return asked is not None and all(holds[one] for one in asked)


def _shown(
    number: int,
    change: Change,
    table: Table,
    listeners: Sequence[Listener],
    answer: Answer | None,
    made: dict[tuple[int, frozenset[str], Key], str],
    key: Key,
) -> str | None:
    """The frame's data; None where the row is not the subscriber's to see."""
    if not table.key:
        return payload.refused_data(change, table, payload.NO_KEY)
    if answer is None:
        return None
    if not {column.name for column in table.key} <= answer.columns:
        if any(
            listener.binding.conditions for listener in listeners
        ):  # it would tell of hidden rows
            return None
        return payload.refused_data(change, table, payload.NO_RIGHT)
    if change.operation != "DELETE" and number not in answer.found:
        return None
    wanted = [listener.binding.columns for listener in listeners]
    allowed = answer.columns
    if all(one is not None for one in wanted):
        allowed &= frozenset().union(*(one for one in wanted if one)) | {
            column.name for column in table.key
        }
    # Out-of-line values are read under the caller's rights: equal keys, equal text.
    cached = number, allowed, key
    if cached not in made:
        made[cached] = payload.data_of(change, table, allowed, answer.found.get(number, {}))
    return made[cached]
