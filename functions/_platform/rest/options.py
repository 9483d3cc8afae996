"""OPTIONS: preflights of CORS, and the Allow header of a resource."""

from starlette.datastructures import Headers

from functions._platform.rest.answer import Answer
from functions._platform.rest.answer import Headers as AnswerHeaders
from functions._platform.rest.catalogue.model import Catalogue, Name, Routine
from functions._platform.rest.plan import refusals

MAX_AGE_S = 86400
METHODS = "GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD"
SIMPLE_HEADERS = ("Accept", "Accept-Language", "Content-Language")
EXPOSED = (
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding,"
    " Range-Unit"
)


def is_preflight(method: str, headers: Headers) -> bool:
    return (
        method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
    )


def preflight(headers: Headers) -> Answer:
    """To whom it is allowed, the gateway says (CORS_ORIGINS)."""
    asked = headers.get("access-control-request-headers", "")
    names = [name.strip() for name in asked.split(",") if name.strip()]
    allowed = ", ".join(["Authorization", *names, *SIMPLE_HEADERS])
    told = [
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", allowed),
        ("Access-Control-Max-Age", str(MAX_AGE_S)),
        ("Content-Length", "0"),
    ]
    return Answer(200, told, b"")


def exposing(headers: Headers) -> AnswerHeaders:
    """For the answer to a page."""
    return [("Access-Control-Expose-Headers", EXPOSED)] if "origin" in headers else []


def root_options() -> Answer:
    return _allowing("OPTIONS,GET,HEAD")


def routine_options(routine: Routine) -> Answer:
    is_volatile = routine.volatility == "volatile"
    return _allowing("OPTIONS,POST" if is_volatile else "OPTIONS,GET,HEAD,POST")


def relation_options(catalogue: Catalogue, relation: Name) -> Answer:
    """By what the relation itself allows, not by the caller's privileges. Raises PGRST205."""
    table = catalogue.tables.get(relation)
    if table is None:
        raise refusals.no_table(catalogue, relation)
    methods = ["OPTIONS,GET,HEAD"]
    if table.insertable:
        methods.append("POST")
    if table.insertable and table.updatable and table.primary_key:
        methods.append("PUT")
    if table.updatable:
        methods.append("PATCH")
    if table.deletable:
        methods.append("DELETE")
    return _allowing(",".join(methods))


def _allowing(methods: str) -> Answer:
    origin = ("Access-Control-Allow-Origin", "*")
    return Answer(200, [("Content-Length", "0"), origin, ("Allow", methods)], b"")
