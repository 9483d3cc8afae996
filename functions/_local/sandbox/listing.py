"""Cursor pagination of ``GET /predictions``: newest first, filtered by time of creation."""

from collections.abc import Collection
from typing import Any

from starlette.requests import Request

from functions._local.sandbox.predictions import Prediction, read_timestamp

PAGE_LENGTH = 100


def page_of(predictions: Collection[Prediction], request: Request) -> dict[str, Any]:
    """Return one page of ``predictions``, which are oldest first, with the addresses of its neighbours.

    Query: ``created_after`` (inclusive), ``created_before`` (exclusive), ``cursor`` (the first id of the page; an
    unknown one restarts at the newest). Raises Problem for a malformed timestamp.
    """
    query = request.query_params
    found = list(reversed(list(predictions)))
    if "created_after" in query:
        after = read_timestamp(query["created_after"])
        found = [prediction for prediction in found if prediction.created_at >= after]
    if "created_before" in query:
        before = read_timestamp(query["created_before"])
        found = [prediction for prediction in found if prediction.created_at < before]
    ids = [prediction.id for prediction in found]
    start = ids.index(query["cursor"]) if query.get("cursor") in ids else 0

    def address(place: int) -> str | None:
        inside = 0 <= place < len(ids)
        return str(request.url.include_query_params(cursor=ids[place])) if inside else None

    return {
        "previous": address(max(0, start - PAGE_LENGTH)) if start else None,
        "next": address(start + PAGE_LENGTH),
        "results": [
            prediction.as_json(str(request.base_url))
            for prediction in found[start : start + PAGE_LENGTH]
        ],
    }
