"""INSERT, UPDATE and DELETE."""

from collections.abc import Iterable

from functions._platform.rest.catalogue.model import Name
from functions._platform.rest.plan.model import Condition, Insert, Update, Write
from functions._platform.rest.sql.body import ROWS, rows
from functions._platform.rest.sql.expressions import column, condition
from functions._platform.rest.sql.fragment import Fragment, joined, qualified, quoted

INSERTED = "nullif(current_setting('pgrst.inserted', true), '')::int"
"""How many rows an upsert has inserted: every row proposed counts one, every row updated minus one."""
COUNT_PROPOSED = f"set_config('pgrst.inserted', (coalesce({INSERTED}, 0) + 1)::text, true) <> '0'"
COUNT_UPDATED = f"set_config('pgrst.inserted', (coalesce({INSERTED}, 0) - 1)::text, true) <> '-1'"


def write(plan: Write) -> Fragment:
    if isinstance(plan, Insert):
        return _insert(plan)
    if isinstance(plan, Update):
        return _update(plan)
    return [
        f"delete from {qualified(plan.relation)}",
        *_where(plan.relation, plan.where),
        _returning(plan.relation, plan.returning),
    ]


def _insert(plan: Insert) -> Fragment:
    names = [quoted(column.name) for column in plan.columns]
    target = f"({', '.join(names)})" if names else ""
    shown = ", ".join(f"{ROWS}.{name}" for name in names)
    merges = plan.conflict is not None and plan.conflict[0] == "merge"
    conditions = [condition(Name("", ROWS), asked) for asked in plan.where]
    if merges:
        conditions.insert(0, [COUNT_PROPOSED])
    return [
        f"insert into {qualified(plan.relation)} {target} select {shown} ",
        *rows(plan.columns, is_object=plan.is_object, defaults=plan.defaults),
        *([" where ", *joined(" and ", conditions)] if conditions else []),
        _on_conflict(plan, names, merges=merges),
        _returning(plan.relation, plan.returning),
    ]


def _on_conflict(plan: Insert, names: list[str], *, merges: bool) -> str:
    if plan.conflict is None or not plan.conflict[1]:
        return ""
    target = ", ".join(map(quoted, plan.conflict[1]))
    if not merges or not names:
        return f" on conflict ({target}) do nothing"
    settings = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f" on conflict ({target}) do update set {settings} where {COUNT_UPDATED}"


def _update(plan: Update) -> Fragment:
    table = qualified(plan.relation)
    if not plan.columns:
        # "set" without columns is no SQL; the columns of no rows are what the answer selects from.
        of = Name("", plan.relation.name)
        shown = ", ".join(column(of, name) for name in plan.returning) or "null"
        return [f"select {shown} from {table} where false"]
    settings = ", ".join(
        f"{quoted(given.name)} = {ROWS}.{quoted(given.name)}" for given in plan.columns
    )
    return [
        f"update {table} set {settings} ",
        *rows(plan.columns, is_object=plan.is_object, defaults=plan.defaults),
        *_where(plan.relation, plan.where),
        _returning(plan.relation, plan.returning),
    ]


def _where(relation: Name, conditions: Iterable[Condition]) -> Fragment:
    told = [condition(relation, asked) for asked in conditions]
    return [" where ", *joined(" and ", told)] if told else []


def _returning(relation: Name, names: Iterable[str]) -> str:
    """Without names a constant: the rows are counted all the same."""
    return f" returning {', '.join(column(relation, name) for name in names) or '1'}"
