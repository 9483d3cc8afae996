"""The ``data`` of a postgres_changes frame."""

from collections.abc import Mapping
from datetime import datetime

from functions._platform.realtime.changes.pgoutput import Change
from functions._platform.realtime.changes.tables import Column, Table
from functions._platform.realtime.changes.values import as_json
from functions._platform.realtime.frames import dumps

MAX_RECORD_BYTES = 1024 * 1024
"""A larger record is cut: its long values are left out, and ``errors`` says so."""
SHORT_BYTES = 64
TOO_LARGE = "Error 413: Payload Too Large"
NO_KEY = "Error 400: Bad Request, no primary key"
NO_RIGHT = "Error 401: Unauthorized"


def data_of(
    change: Change, table: Table, allowed: frozenset[str], toasted: Mapping[str, str]
) -> str:
    """JSON. ``allowed``: the columns that are shown. ``toasted``: out-of-line values, JSON already."""
    columns = [column for column in table.columns.values() if column.name in allowed]
    record = _record(change, change.new, columns)
    record |= {
        name: text for name, text in toasted.items() if name in allowed and name in change.unchanged
    }
    record = {column.name: record[column.name] for column in columns if column.name in record}
    old = _old(change, table, columns)
    errors = None
    if sum(map(len, record.values())) + sum(map(len, old.values())) > MAX_RECORD_BYTES:
        record, old, errors = _cut(record), _cut(old), [TOO_LARGE]
    return _data(change, table, columns, record, old, errors)


def refused_data(change: Change, table: Table, error: str) -> str:
    """JSON without a record: the table has no primary key, or the role must not read it."""
    return _data(change, table, [], {}, {}, [error])


def _old(change: Change, table: Table, columns: list[Column]) -> dict[str, str]:
    """All that the log has: the key, with ``replica identity full`` the row.

    Of a deleted row of a table with row level security the key alone: nobody can say any more who might see it.
    """
    if change.operation == "UPDATE" and not change.old:
        return _record(change, change.new, [column for column in columns if column.is_key])
    is_open = change.operation == "UPDATE" or not table.secured
    return _record(change, change.old, [one for one in columns if one.is_key or is_open])


def _record(
    change: Change, values: Mapping[str, str | None], columns: list[Column]
) -> dict[str, str]:
    """A column whose type has changed since is text: read as the new type it might be no JSON."""
    return {
        column.name: as_json(
            values[column.name],
            column if change.types.get(column.name, column.type_oid) == column.type_oid else None,
        )
        for column in columns
        if column.name in values
    }


def _cut(record: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in record.items() if len(text.encode()) <= SHORT_BYTES}


def _data(
    change: Change,
    table: Table,
    columns: list[Column],
    record: Mapping[str, str],
    old: Mapping[str, str],
    errors: list[str] | None,
) -> str:
    told = [
        f'"schema":{dumps(table.schema)},"table":{dumps(table.name)}',
        f'"commit_timestamp":"{_zulu(change.committed_at)}","type":"{change.operation}"',
        f'"columns":{dumps([{"name": one.name, "type": one.type} for one in columns])}',
    ]
    if change.operation != "DELETE":
        told.append(f'"record":{_object(record)}')
    if change.operation != "INSERT":
        told.append(f'"old_record":{_object(old)}')
    told.append(f'"errors":{dumps(errors)}')
    return f"{{{','.join(told)}}}"


def _object(record: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{dumps(name)}:{text}" for name, text in record.items()) + "}"


def _zulu(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
