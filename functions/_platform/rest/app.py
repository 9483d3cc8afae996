"""The ASGI app of /rest/v1: authenticate, plan, run one transaction, answer.

/                 OpenAPI
/<relation>       GET, HEAD, POST, PUT, PATCH, DELETE
/rpc/<function>   GET, HEAD, POST
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq.abc import PGresult
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from functions._platform.rest import errors
from functions._platform.rest.access import access_of
from functions._platform.rest.answer import (
    Answer,
    answer,
    legacy_warning,
    plan_answer,
    row_of,
    with_estimate,
)
from functions._platform.rest.catalogue.cache import NotLoaded, SchemaCache
from functions._platform.rest.catalogue.model import Catalogue
from functions._platform.rest.connections.sessions import NoDatabase, Sessions
from functions._platform.rest.connections.transaction import Transaction
from functions._platform.rest.database_errors import from_database
from functions._platform.rest.disconnect import cancelled_when_gone
from functions._platform.rest.errors import RestError
from functions._platform.rest.openapi.root import plan_root, root_answer
from functions._platform.rest.options import (
    exposing,
    is_preflight,
    preflight,
    relation_options,
    root_options,
    routine_options,
)
from functions._platform.rest.payload import Payload, read_payload
from functions._platform.rest.plan_cache import PlanCache, asked_key, plan_key
from functions._platform.rest.planned import Planned, Planner
from functions._platform.rest.request import Asked, asked_of
from functions._platform.rest.sql.statement import MAX_ANSWER_BYTES
from functions._platform.rest.transactions import check_rows, max_affected, transaction_of
from functions._shared.auth.access import Access
from functions._shared.errors import FunctionError, error_response
from functions._shared.resources import Resources
from functions._shared.settings import Settings
from functions._shared.web.function_app import AnsweredBugs

FIRST_LOAD_S = 10.0
"""How long a request of the start waits for the schema cache."""


@dataclass(frozen=True)
class Rest:
    """What /rest/v1 needs while it is served."""

    settings: Settings
    sessions: Sessions
    cache: SchemaCache
    login: str
    """The role of its connections."""
    plans: PlanCache = field(default_factory=PlanCache)

    def is_anonymous(self, access: Access) -> bool:
        """Whether the role is PGRST_DB_ANON_ROLE, so that 42501 is 401 (log in first), not 403."""
        return access.role == self.settings.pgrst_db_anon_role

    async def catalogue(self) -> Catalogue:
        """Raises RestError: PGRST002."""
        try:
            return self.cache.current
        except NotLoaded:
            pass
        try:
            async with asyncio.timeout(FIRST_LOAD_S):
                return await self.cache.first()
        except (NotLoaded, TimeoutError):
            raise errors.no_catalogue() from None


@asynccontextmanager
async def open_rest(resources: Resources) -> AsyncIterator[Rest]:
    settings = resources.settings
    address = settings.pgrst_db_uri or settings.supabase_db_url
    login = str(conninfo_to_dict(address.get_secret_value()).get("user", ""))
    sessions = Sessions(
        address,
        settings.pgrst_db_pool,
        prepare=settings.pgrst_db_prepared_statements,
    )
    cache = SchemaCache(settings)
    try:
        async with resources.supervisor.running("schema cache", cache.run):
            yield Rest(settings, sessions, cache, login)
    finally:
        sessions.close()


@dataclass
class Timing:
    """Server-Timing: the milliseconds of each phase."""

    _last: float = field(default_factory=perf_counter)
    _phases: list[str] = field(default_factory=list)

    def end(self, phase: str) -> None:
        now = perf_counter()
        self._phases.append(f"{phase};dur={(now - self._last) * 1000:.1f}")
        self._last = now

    @property
    def header(self) -> tuple[str, str]:
        return "Server-Timing", ", ".join(self._phases)


class RestApp:
    """Not a Starlette app: its router has no method but those a route names, and PostgREST's errors for all others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        request = Request(scope, receive)
        try:
            told = await _answered(request)
        except RestError as error:
            response = error.response(with_body=request.method != "HEAD")
            response.headers.update(dict(exposing(request.headers)))
            await response(scope, receive, send)
        except FunctionError as error:
            await error_response(error)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            headers = [*told.headers, *exposing(request.headers)]
            await _send(replace(told, headers=headers), send)


async def _send(told: Answer, send: Send) -> None:
    has_content = told.status not in errors.BODILESS
    headers = [
        (name.encode(), value.encode("latin-1"))
        for name, value in told.headers
        if has_content or name.lower() != "content-length"
    ]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    body = (told.body or b"") if has_content else b""
    await send({"type": "http.response.body", "body": body})


async def _answered(request: Request) -> Answer:
    """Raises RestError, FunctionError, ClientDisconnect."""
    rest: Rest = request.state.rest
    if is_preflight(request.method, request.headers):
        return preflight(request.headers)
    timing = Timing()
    access = await access_of(request)
    if access.role == rest.login and not rest.is_anonymous(access):
        # Privilege escalation: PostgreSQL lets each role assume itself, and the login role may assume all others.
        raise errors.may_not_assume(access.role)
    timing.end("jwt")
    catalogue = await rest.catalogue()
    key = asked_key(request.scope)
    asked = rest.plans.asked.get(key) or asked_of(request, rest.settings)
    rest.plans.asked.put(key, asked)
    planner = Planner(rest.settings, catalogue)
    if asked.method == "OPTIONS":
        return _options(asked, planner, catalogue)
    payload = await _payload(request, asked)
    timing.end("parse")
    plans, key = rest.plans.planned(catalogue), plan_key(key, payload)
    planned = plans.get(key) or _plan(asked, planner, payload)
    plans.put(key, planned)
    timing.end("plan")
    body = payload.raw if payload else b""
    transaction = transaction_of(request, asked, planned, body, access, catalogue, rest.settings)
    results = await _run(rest, request, transaction, access)
    timing.end("transaction")
    if asked.kind == "root":
        told = await root_answer(request, asked, results[0], catalogue, rest.settings)
    else:
        told = _told(rest, asked, planned, results)
    timing.end("response")
    if rest.settings.pgrst_server_timing_enabled:
        return replace(told, headers=[*told.headers, timing.header])
    return told


def _options(asked: Asked, planner: Planner, catalogue: Catalogue) -> Answer:
    if asked.kind == "root":
        return root_options()
    if asked.kind == "routine":
        return routine_options(planner.routine(asked, None))
    return relation_options(catalogue, asked.resource)


async def _payload(request: Request, asked: Asked) -> Payload | None:
    if asked.is_reading or asked.method == "DELETE":
        return None
    columns = None if asked.method == "PUT" else asked.query.columns
    return await read_payload(
        request, asked.content_type, is_call=asked.kind == "routine", columns=columns
    )


def _plan(asked: Asked, planner: Planner, payload: Payload | None) -> Planned:
    if asked.kind == "root":
        return plan_root(asked)
    if asked.kind == "routine":
        return planner.call(asked, payload)
    return planner.read(asked) if asked.is_reading else planner.write(asked, payload)


async def _run(
    rest: Rest, request: Request, transaction: Transaction, access: Access
) -> list[PGresult]:
    try:
        async with cancelled_when_gone(request.receive), rest.sessions.session() as session:
            return await transaction.run(session)
    except NoDatabase:
        raise errors.unreachable() from None
    except psycopg.Error as error:
        raise from_database(error, rest.is_anonymous(access)) from None


def _told(rest: Rest, asked: Asked, planned: Planned, results: list[PGresult]) -> Answer:
    if planned.media_type.is_plan:
        return plan_answer(asked, planned, results[0])
    row = row_of(results[0])
    if planned.bounded and not row.has_body:
        raise errors.answer_too_large(MAX_ANSWER_BYTES)
    check_rows(planned, max_affected(asked, planned), row.rows)
    if planned.estimate:
        row = with_estimate(row, results[1], asked, rest.settings.pgrst_db_max_rows)
    told = answer(asked, planned, row)
    return replace(told, headers=[*told.headers, *legacy_warning(planned.renamed)])


app = AnsweredBugs(RestApp())
