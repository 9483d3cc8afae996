"""Request bodies: JSON (passed on to PostgreSQL unparsed), CSV, forms, and raw bytes for functions of one parameter."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from functions._platform.rest.media_types import MediaType

MAX_BODY_BYTES = 10 * 1024 * 1024
"""Bulk inserts of a page of rows with pictures as base64 fit; larger ones belong into several requests."""


@dataclass(frozen=True)
class Payload:
    """``kind`` json: ``raw`` is a JSON object, or an array of objects that all have ``keys``.

    ``kind`` unchecked (``columns=`` was given): ``raw`` is whatever JSON the client sent, ``keys`` are those columns.
    ``kind`` form (calls only): ``pairs``, as sent; ``raw`` is empty. ``kind`` raw (calls only): the bytes of one
    unnamed parameter of type text, xml or bytea.
    """

    kind: Literal["json", "unchecked", "form", "raw"]
    raw: bytes = b""
    keys: frozenset[str] = frozenset()
    pairs: tuple[tuple[str, str], ...] = ()


async def read_payload(
    request: Request,
    content_type: MediaType,
    *,
    is_call: bool,
    columns: AbstractSet[str] | None = None,
) -> Payload:
    """The body of a POST, PATCH or PUT.

    ``columns``: those of ``columns=``, honoured by POST and PATCH. Raises PGRST102 (400), 413 for a body above
    MAX_BODY_BYTES, 408 and 415 as other bodies do.
    """
    raise NotImplementedError
