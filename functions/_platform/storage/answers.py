"""Rows as JSON, in upstream's shapes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def time_json(value: datetime | None) -> str | None:
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_json() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with times and UUIDs as text."""
    told: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, datetime):
            told[name] = time_json(value)
        else:
            told[name] = (
                value if isinstance(value, str | int | bool | list | dict | None) else str(value)
            )
    return told


def object_json(row: Mapping[str, Any]) -> dict[str, Any]:
    hidden = {"path_tokens"}
    return plain_json({name: value for name, value in row.items() if name not in hidden})


def bucket_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """``owner`` is a text: supabase-py fails on null. ``type`` is left out: older releases of it fail on that."""
    told = plain_json(row)
    names = ("id", "name", "public", "file_size_limit", "allowed_mime_types")
    kept = {name: told[name] for name in (*names, "created_at", "updated_at")}
    return {**kept, "owner": told.get("owner_id") or told.get("owner") or ""}
