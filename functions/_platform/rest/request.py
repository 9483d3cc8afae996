"""An HTTP request → what it asks of the API: the resource, the schema, the action, and the parsed query and headers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

from starlette.datastructures import Headers
from starlette.requests import Request

from functions._platform.rest import errors, media_types
from functions._platform.rest.catalogue.model import Name
from functions._platform.rest.media_types import MediaType
from functions._platform.rest.preferences import Preferences
from functions._platform.rest.query.parse import parse
from functions._platform.rest.query.tree import Query, Window
from functions._platform.rest.ranges import window_of
from functions._shared.rest_settings import RestSettings

Kind = Literal["root", "relation", "routine"]
READING = frozenset({"GET", "HEAD"})
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
METHODS: dict[Kind, frozenset[str]] = {
    "root": READING | {"OPTIONS"},
    "relation": READING | WRITING | {"OPTIONS"},
    "routine": READING | {"POST", "OPTIONS"},
}


@dataclass(frozen=True)
class Asked:
    """``resource``: of kind root its name is "". ``profile``: whether the answer names the schema (Content-Profile).

    ``window``: of the root level; the rows that limit, offset and the Range header choose. ``canonical``: the query
    string as Content-Location has it.
    """

    kind: Kind
    resource: Name
    method: str
    profile: bool
    query: Query
    window: Window
    preferences: Preferences
    accepted: tuple[MediaType, ...]
    content_type: MediaType
    canonical: str

    @property
    def is_reading(self) -> bool:
        return self.method in READING

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"


def asked_of(request: Request, settings: RestSettings) -> Asked:
    """Raises RestError."""
    method, headers = request.method, request.headers
    kind, name = _resource(path_of(request), settings)
    schema, profile = _schema(method, headers, settings)
    if method not in METHODS[kind]:
        refused = errors.method_not_for_rpc if kind == "routine" else errors.unsupported_method
        raise refused(method)
    is_call = kind == "routine" and method != "POST"
    query = parse(request.scope["query_string"], is_call=is_call)
    content_type = headers.get("content-type")
    return Asked(
        kind=kind,
        resource=Name(schema, name),
        method=method,
        profile=profile,
        query=query,
        window=window_of(method, headers.get("range"), query),
        preferences=Preferences.parse(
            headers.getlist("prefer"),
            may_end_transaction=settings.pgrst_db_tx_end.endswith("-allow-override"),
        ),
        accepted=tuple(media_types.accepted(headers.get("accept"))),
        content_type=media_types.decode(content_type) if content_type else media_types.JSON,
        canonical=_canonical(request.scope["query_string"]) if method in READING else "",
    )


def path_of(request: Request) -> str:
    """The path below /rest/v1, still percent-encoded, as ``request.path`` has it."""
    scope = request.scope
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("latin-1").removeprefix(scope["root_path"]) or "/"


def _resource(path: str, settings: RestSettings) -> tuple[Kind, str]:
    match [_decoded(segment) for segment in path.split("/")[1:]]:
        case [""]:
            if settings.pgrst_openapi_mode == "disabled":
                raise errors.openapi_disabled()
            return "root", ""
        case [name]:
            return "relation", name
        case ["rpc", name]:
            return "routine", name
        case _:
            raise errors.invalid_path()


def _decoded(segment: str) -> str:
    return unquote_to_bytes(segment).decode(errors="replace") if "%" in segment else segment


def _schema(method: str, headers: Headers, settings: RestSettings) -> tuple[str, bool]:
    exposed = settings.pgrst_db_schemas
    asked = headers.get("content-profile" if method in WRITING else "accept-profile")
    if asked is None:
        return exposed[0], len(exposed) != 1
    schema = asked.encode("latin-1").decode(errors="replace")
    if schema not in exposed:
        raise errors.schema_not_exposed(schema, exposed)
    return schema, True


def headers_json(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """For ``request.headers``: names in lower case, without Cookie; of a repeated one the first counts."""
    named: dict[str, str] = {}
    for name, value in headers:
        if name != b"cookie":
            named.setdefault(name.decode("latin-1"), value.decode(errors="replace"))
    return json.dumps(named, ensure_ascii=False)


def cookies_json(header: str | None) -> str:
    """For ``request.cookies``."""
    if not header:
        return "{}"
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return json.dumps({name: value for name, _, value in pairs if name}, ensure_ascii=False)


def _canonical(query_string: bytes) -> str:
    """Sorted by name, values of one name joined by commas, encoded anew."""
    named: dict[bytes, list[bytes]] = {}
    for part in query_string.split(b"&"):
        if part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            named.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    return "&".join(
        f"{quote_from_bytes(name, safe='')}={','.join(quote_from_bytes(value, safe='') for value in named[name])}"
        for name in sorted(named)
    )
