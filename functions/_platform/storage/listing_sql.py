"""The statements of listings: by name one index probe per entry (loose index scan), by time a scan of the prefix.

The index is upstream's ``idx_objects_bucket_id_name``, (bucket_id, name collate "C"): its comparisons are leakproof, so
that the planner may use them below the policies of row-level security, which is not true of LIKE and lower().
"""

from dataclasses import dataclass
from typing import Any

COLUMNS = "id, updated_at, created_at, last_accessed_at, metadata"
NO_COLUMNS = "null::uuid, null::timestamptz, null::timestamptz, null::timestamptz, null::jsonb"


@dataclass(frozen=True)
class Level:
    """What is listed. ``prefix``: where names begin; ``search``: how they go on, without regard to case."""

    bucket: str
    prefix: str
    search: str = ""

    @property
    def values(self) -> dict[str, Any]:
        return {
            "bucket": self.bucket,
            "prefix": self.prefix,
            "search": self.search.lower(),
            "base": len(self.prefix) + len(self.search),
            "end": _behind(self.prefix),
        }

    @property
    def condition(self) -> str:
        parts = ['bucket_id = %(bucket)s and name collate "C" >= %(prefix)s']
        if _behind(self.prefix) is not None:
            parts.append('name collate "C" < %(end)s')
        if self.search:
            parts.append("starts_with(lower(substr(name, length(%(prefix)s) + 1)), %(search)s)")
        return " and ".join(parts)


ENTRY = "strpos(substr(name, %(base)s + 1), '/')"
"""Where a name goes on into a folder, counted from the end of prefix and search; 0: an object of this level."""
BY_NAME = """
with recursive entry as (
    ({first})
    union all
    select following.* from entry cross join lateral ({following}) as following
)
select name, {columns} from entry limit %(limit)s offset %(offset)s
"""
STEP = """
select case when slash > 0 then left(name, %(base)s + slash - 1) else name end as name,
    {columns}, {seek} as seek
from (
    select *, {entry} as slash from storage.objects
    where {condition} and name collate "C" {compare} {from_} order by name collate "C" {order} limit 1
) as found
"""
BY_TIME = """
with here as (select *, {entry} as slash from storage.objects where {condition})
select * from (
    select left(name, %(base)s + slash - 1) as name, {none} from here where slash > 0 group by 1
    union all
    select name, {columns} from here where slash = 0 and name <> %(prefix)s
) as entry (name, {columns})
order by id is not null, {column} {order}, name collate "C" {order} limit %(limit)s offset %(offset)s
"""
FLAT = """
select name, {columns} from storage.objects where {condition} and {after}
order by name collate "C" {order} limit %(limit)s
"""
FLAT_BY_TIME = """
with here as (
    select *, case when %(delimited)s then {entry} else 0 end as slash from storage.objects where {condition}
), entry as (
    select case when slash > 0 then left(name, %(base)s + slash - 1) else name end as name,
        case when slash = 0 then id end as id, max(updated_at) as updated_at, max(created_at) as created_at,
        max(last_accessed_at) as last_accessed_at, (array_agg(metadata))[1] as metadata
    from here group by 1, 2
)
select * from entry
where %(after_name)s = ''
    or ({column}, name collate "C") {than} (%(after_time)s::timestamptz, %(after_name)s collate "C")
order by {column} {order}, name collate "C" {order} limit %(limit)s
"""
FOLDER_COLUMNS = ", ".join(
    f"case when slash = 0 then {column} end as {column}" for column in COLUMNS.split(", ")
)


def by_name(
    level: Level, order: str, limit: int, offset: int, after: str = ""
) -> tuple[str, dict[str, Any]]:
    """Folders and objects of one level. ``after``: the last entry of the page before; a folder ends with a slash."""
    start: str | None
    if order == "asc":
        # Behind a folder: / is followed by 0. Behind an object: the smallest longer name.
        compare, start = ">=", _after(after) if after else level.prefix
        seek = "case when slash > 0 then left(name, %(base)s + slash - 1) || '0' else name || chr(1) end"
    else:
        compare, start = "<", after or _behind(level.prefix)
        seek = "case when slash > 0 then left(name, %(base)s + slash) else name end"
    steps = {
        "columns": FOLDER_COLUMNS,
        "seek": seek,
        "entry": ENTRY,
        "condition": level.condition,
        "compare": compare,
        "order": order,
    }
    first = STEP.format(**steps, from_="%(start)s")
    if start is None:  # from the end of the bucket
        first = STEP.format(**{**steps, "compare": "is not"}, from_="null")
    following = STEP.format(**steps, from_="entry.seek")
    statement = BY_NAME.format(first=first, following=following, columns=COLUMNS)
    return statement, {**level.values, "start": start, "limit": limit, "offset": offset}


def by_time(
    level: Level, column: str, order: str, limit: int, offset: int
) -> tuple[str, dict[str, Any]]:
    """Folders, which have no times, come first."""
    statement = BY_TIME.format(
        entry=ENTRY,
        condition=level.condition,
        none=NO_COLUMNS,
        columns=COLUMNS,
        column=column,
        order=order,
    )
    return statement, {**level.values, "limit": limit, "offset": offset}


def flat(level: Level, order: str, limit: int, after: str) -> tuple[str, dict[str, Any]]:
    """Every object below the prefix."""
    than = ">" if order == "asc" else "<"
    condition = f'name collate "C" {than} %(after)s' if after else "true"
    statement = FLAT.format(
        columns=COLUMNS, condition=level.condition, after=condition, order=order
    )
    return statement, {**level.values, "limit": limit, "after": after}


def flat_by_time(
    level: Level, column: str, order: str, limit: int, after: tuple[str, str], *, delimited: bool
) -> tuple[str, dict[str, Any]]:
    """``after``: time and name of the last entry of the page before; a folder's time is its youngest object's."""
    statement = FLAT_BY_TIME.format(
        entry=ENTRY,
        condition=level.condition,
        column=column,
        order=order,
        than=">" if order == "asc" else "<",
    )
    time, name = after
    return statement, {
        **level.values,
        "limit": limit,
        "delimited": delimited,
        "after_time": time or None,
        "after_name": name.removesuffix("/"),
    }


def _after(entry: str) -> str:
    return f"{entry[:-1]}0" if entry.endswith("/") else f"{entry}\x01"


def _behind(prefix: str) -> str | None:
    """The smallest text behind all that begins with ``prefix``, in the order of code points; None: there is none."""
    while prefix and prefix[-1] == "\U0010ffff":
        prefix = prefix[:-1]
    if not prefix:
        return None
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)
