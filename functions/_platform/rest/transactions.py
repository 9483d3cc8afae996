"""What a request's transaction is made of: its settings, its statements, and the results that must not be committed."""

from collections.abc import Callable

from psycopg.pq.abc import PGresult
from starlette.requests import Request

from functions._platform.rest import errors
from functions._platform.rest.answer import row_of
from functions._platform.rest.catalogue.model import Catalogue, Name
from functions._platform.rest.connections.limits import limit_of
from functions._platform.rest.connections.transaction import Transaction
from functions._platform.rest.planned import Planned
from functions._platform.rest.request import Asked, cookies_json, headers_json, path_of
from functions._platform.rest.sql.fragment import Statement, qualified, render
from functions._platform.rest.sql.settings import Setting, search_path, settings_statement
from functions._shared.auth.access import Access
from functions._shared.rest_settings import RestSettings


def transaction_of(
    request: Request,
    asked: Asked,
    planned: Planned,
    body: bytes,
    access: Access,
    catalogue: Catalogue,
    settings: RestSettings,
) -> Transaction:
    statements = [planned.statement.filled(body)]
    if planned.estimate:
        statements.append(planned.estimate.filled())
    isolation = catalogue.role_isolation.get(access.role)
    function_settings: tuple[Setting, ...] = ()
    if planned.routine:
        isolation = planned.routine.isolation or isolation
        function_settings = planned.routine.settings
    every = [*request_settings(request, asked, access, catalogue, settings), *function_settings]
    return Transaction(
        settings_statement(every, read_only=planned.read_only),
        statements,
        pre_request=pre_request(settings),
        limit_s=limit_of(every, len(statements) + 1),
        isolation=isolation,
        rolls_back=_rolls_back(asked, settings),
        check=_check(asked, planned),
    )


def request_settings(
    request: Request, asked: Asked, access: Access, catalogue: Catalogue, settings: RestSettings
) -> list[Setting]:
    """The role's own settings come before the role: the login role is the one that may set them."""
    schemas = (asked.resource.schema, *settings.pgrst_db_extra_search_path)
    told = [
        search_path(schemas),
        *catalogue.role_settings.get(access.role, {}).items(),
        ("role", access.role),
        ("request.jwt.claims", access.claims_json),
        ("request.method", asked.method),
        ("request.path", path_of(request)),
        ("request.headers", headers_json(request.scope["headers"])),
        ("request.cookies", cookies_json(request.headers.get("cookie"))),
    ]
    timezone = asked.preferences.timezone
    return told if timezone is None else [*told, ("timezone", timezone)]


def pre_request(settings: RestSettings) -> Statement | None:
    if not settings.pgrst_db_pre_request:
        return None
    schema, dot, name = settings.pgrst_db_pre_request.partition(".")
    function = Name(schema, name) if dot else Name("", schema)
    return render([f"select {qualified(function)}()"]).filled()


def _rolls_back(asked: Asked, settings: RestSettings) -> bool:
    wanted = asked.preferences.transaction
    if wanted is not None:
        return wanted == "rollback"
    return settings.pgrst_db_tx_end.startswith("rollback")


def _check(asked: Asked, planned: Planned) -> Callable[[list[PGresult]], None] | None:
    """None where every result may be committed: reads, and writes without a bound."""
    if planned.media_type.is_plan:
        return None
    most = max_affected(asked, planned)
    if planned.read_only or (
        planned.action != "upsert" and most is None and not planned.is_singular
    ):
        return None
    return lambda results: check_rows(planned, most, row_of(results[0]).rows)


def check_rows(planned: Planned, most: int | None, rows: int) -> None:
    """Raises RestError: PGRST115, 116, 124."""
    if planned.action == "upsert" and rows != 1:
        raise errors.put_key_mismatch()
    if planned.is_singular and planned.action != "upsert" and rows != 1:
        raise errors.not_single(rows)
    if most is not None and rows > most:
        raise errors.max_affected_exceeded(rows)


def max_affected(asked: Asked, planned: Planned) -> int | None:
    bounded = planned.action in {"update", "delete", "call"} and asked.preferences.is_strict
    return asked.preferences.max_affected if bounded else None
