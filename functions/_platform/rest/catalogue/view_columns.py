"""Which columns of views are columns of tables, so that a table's keys hold for its views.

pg_depend knows which columns a view reads, not where they come out: that is only in the parsed query (pg_rewrite's
ev_action, a pg_node_tree). PostgreSQL reduces each tree to its braces and the numbers of its target entries, which is
a hundredth of the text; the nesting of braces then tells the outermost SELECT's entries from those of subqueries.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from typing import Any

from functions._platform.rest.catalogue.foreign_keys import PrimaryKey, Side
from functions._platform.rest.catalogue.model import Name

# A name's own braces are escaped in the tree. Each wanted field becomes a control character, and the regular
# expression removes everything else from a field's name up to the next brace or wanted field.
QUERY = r"""
with trees as (
    select rules.ev_class, replace(replace(rules.ev_action::text, '\{', ''), '\}', '') as tree
    from pg_rewrite as rules
    join pg_class as relations on relations.oid = rules.ev_class
    join pg_namespace as spaces on spaces.oid = relations.relnamespace
    where
        relations.relkind in ('v', 'm') and rules.rulename = '_RETURN'
        and (spaces.nspname = any (%(schemas)s) or spaces.nspname = any (%(search_path)s))
),
marked as (
    select
        ev_class,
        replace(replace(replace(
            tree, ' :resno ', chr(1)), ' :resorigtbl ', chr(2)), ' :resorigcol ', chr(3)
        ) as tree
    from trees
),
reduced as (
    select
        ev_class,
        regexp_replace(
            regexp_replace(tree, ' :[^{}' || chr(1) || chr(2) || chr(3) || ']+', '', 'g'), '[A-Z_() ]+', '', 'g'
        ) as tree
    from marked
)
select coalesce(json_agg(
    json_build_array(ev_class::bigint, replace(replace(replace(tree, '{}', ''), '{}', ''), '{}', ''))
), '[]')
from reduced
"""

TOKENS = re.compile("[{}]|\x01(\\d+)\x02(\\d+)\x03(\\d+)")
ENTRY_DEPTH = 2
"""QUERY, TARGETENTRY."""

Origin = tuple[int, int]
"""(oid of a relation, attnum)"""


class Views:
    """``of(table)``: the views that show all columns of a key, with every choice of their columns for it."""

    def __init__(self, rows: list[list[Any]], tables: list[list[Any]]) -> None:
        """``tables``: the rows of ``tables.QUERY``, for the names of the exposed views and their columns."""
        self._entries = {oid: dict(_entries(tree)) for oid, tree in rows}
        self._shown: dict[int, dict[int, dict[int, list[str]]]] = defaultdict(dict)
        self.names: dict[int, Name] = {}
        for oid, schema, name, _, is_view, _, _, columns in tables:
            if is_view:
                self.names[oid] = Name(schema, name)
                self._trace(oid, [column[0] for column in columns])

    def of(self, side: Side) -> Iterator[tuple[Name, tuple[str, ...]]]:
        """Each view of a foreign key's side, and the columns that stand there for the key's."""
        for view, columns in self._showing(side.oid, side.attnums):
            for choice in product(*columns):
                yield self.names[view], choice

    def primary_keys(self, keys: list[PrimaryKey]) -> dict[int, tuple[str, ...]]:
        """A view's oid → its columns that show the primary keys of its tables, each by the first that does."""
        found: dict[int, tuple[str, ...]] = {}
        for key in sorted(keys, key=lambda key: key.table, reverse=True):
            for view, columns in self._showing(key.oid, key.attnums):
                found[view] = found.get(view, ()) + tuple(choices[0] for choices in columns)
        return found

    def _showing(self, oid: int, attnums: tuple[int, ...]) -> Iterator[tuple[int, list[list[str]]]]:
        for view, columns in self._shown.get(oid, {}).items():
            if all(attnum in columns for attnum in attnums):
                yield view, [columns[attnum] for attnum in attnums]

    def _trace(self, view: int, names: list[str]) -> None:
        """Note each column's origin, through views on views."""
        for resno, name in enumerate(names, 1):
            origin, seen = (view, resno), set[Origin]()
            while origin not in seen and (entries := self._entries.get(origin[0])):
                seen.add(origin)
                if origin[1] not in entries:
                    break
                origin = entries[origin[1]]
                self._shown[origin[0]].setdefault(view, {}).setdefault(origin[1], []).append(name)


def _entries(tree: str) -> Iterator[tuple[int, Origin]]:
    """The columns of a reduced tree's outermost SELECT that are plain columns: (resno, origin)."""
    depth = 0
    for token in TOKENS.finditer(tree):
        match token[0]:
            case "{":
                depth += 1
            case "}":
                depth -= 1
            case _ if depth == ENTRY_DEPTH and token[2] != "0":
                yield int(token[1]), (int(token[2]), int(token[3]))
