"""Content negotiation: the first accepted media type that something makes, built in or a custom handler."""

from collections.abc import Iterable
from typing import NamedTuple

from functions._platform.rest import errors, media_types
from functions._platform.rest.catalogue.model import Catalogue, Handler, Name
from functions._platform.rest.media_types import MediaType
from functions._platform.rest.plan.model import Body, Custom, Format

BUILT_IN: dict[MediaType, tuple[Format, MediaType]] = {
    media_types.ANY: ("json", media_types.JSON),
    media_types.JSON: ("json", media_types.JSON),
    media_types.CSV: ("csv", media_types.CSV),
    media_types.GEO_JSON: ("geojson", media_types.GEO_JSON),
}
"""Those that a custom handler for any relation may replace."""
FIXED: dict[MediaType, Format] = {
    media_types.OBJECT: "object",
    media_types.OBJECT_STRIPPED: "object-stripped",
    media_types.ARRAY_STRIPPED: "json-stripped",
}


class Chosen(NamedTuple):
    body: Body
    media_type: MediaType


def negotiate(
    catalogue: Catalogue,
    relation: Name,
    accepted: Iterable[MediaType],
    *,
    whole_rows: bool,
    plans: bool,
) -> Chosen:
    """``whole_rows``: nothing but ``*`` is selected, as custom handlers of ``relation`` need. Raises PGRST107."""
    accepted = list(accepted)
    handlers = _Handlers(catalogue, relation if whole_rows else None)
    for asked in accepted:
        wanted = asked.plan_for or asked
        if asked.is_plan and not plans:
            continue
        chosen = Chosen(FIXED[wanted], wanted) if wanted in FIXED else handlers.find(wanted)
        if chosen:
            return Chosen(chosen.body, asked) if asked.is_plan else chosen
    raise errors.media_type_not_available([asked.mime for asked in accepted])


class _Handlers:
    def __init__(self, catalogue: Catalogue, relation: Name | None) -> None:
        self._found = {
            (handler.relation, handler.media_type): handler
            for handler in catalogue.handlers
            if handler.relation in {None, relation}
        }
        self._relation = relation

    def find(self, asked: MediaType) -> Chosen | None:
        own = None
        if self._relation:
            any_type = self._found.get((self._relation, media_types.ANY.essence))
            own = any_type or self._found.get((self._relation, asked.mime))
        handler = own or self._found.get((None, asked.mime))
        if handler:
            return Chosen(_body(handler), media_types.decode(handler.content_type))
        built_in = BUILT_IN.get(asked)
        return Chosen(*built_in) if built_in else None


def _body(handler: Handler) -> Body:
    return Custom(handler.function, handler.relation) if handler.is_aggregate else "value"
