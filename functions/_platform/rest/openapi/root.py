"""GET / of /rest/v1: the document for the request's role and schema."""

import asyncio

from psycopg.pq.abc import PGresult
from pydantic_core import to_json
from starlette.requests import Request

from functions._platform.rest import errors
from functions._platform.rest.answer import Answer, profile
from functions._platform.rest.catalogue.model import Catalogue
from functions._platform.rest.media_types import ANY, JSON, OPENAPI
from functions._platform.rest.openapi.document import document
from functions._platform.rest.openapi.visible import read_visible, visible_query
from functions._platform.rest.planned import Planned
from functions._platform.rest.request import Asked
from functions._platform.rest.sql.fragment import render
from functions._shared.rest_settings import RestSettings


def plan_root(asked: Asked) -> Planned:
    """Raises RestError: PGRST107."""
    if not {ANY, JSON, OPENAPI} & set(asked.accepted):
        raise errors.media_type_not_available([each.mime for each in asked.accepted])
    return Planned("read", render(visible_query(asked.resource.schema)), OPENAPI, read_only=True)


async def root_answer(
    request: Request, asked: Asked, result: PGresult, catalogue: Catalogue, settings: RestSettings
) -> Answer:
    """``result``: of ``plan_root``'s statement."""
    scope = request.scope  # Starlette's URLs raise ValueError for a malformed Host header
    own = f"{scope['scheme']}://{request.headers.get('host', '')}{scope['root_path']}"
    headers = [("Content-Type", OPENAPI.content_type), *profile(asked)]
    if asked.is_head:
        return Answer(200, headers, None)

    def encoded() -> bytes:
        visible = read_visible(result.get_value(0, 0) or b"")
        server = settings.pgrst_openapi_server_proxy_uri or own
        return to_json(document(catalogue, asked.resource.schema, visible, settings, server))

    # In a thread: of a large schema it takes a second, in which other requests go on.
    body = await asyncio.to_thread(encoded)
    return Answer(200, [("Content-Length", str(len(body))), *headers], body)
