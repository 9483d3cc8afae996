"""The settings of a request's transaction, set in one SELECT that ends with it (``set_config(…, true)``)."""

from collections.abc import Iterable

from functions._platform.rest.sql.fragment import Fragment, Statement, bound, joined, quoted, render

READ_ONLY = ("transaction_read_only", "on")
"""Not to be switched off again within the transaction: PostgreSQL refuses that once a query has run (25001)."""

Setting = tuple[str, str]


def settings_statement(settings: Iterable[Setting], *, read_only: bool) -> Statement:
    pairs = [*settings, READ_ONLY] if read_only else settings
    sets = joined(", ", (_set(name, value) for name, value in pairs))
    return render(["select ", *sets]).filled()


def _set(name: str, value: str) -> Fragment:
    return ["set_config(", bound(name), ", ", bound(value), ", true)"]


def search_path(schemas: Iterable[str]) -> Setting:
    return "search_path", ", ".join(map(quoted, schemas))
