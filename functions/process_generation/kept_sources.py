"""Kept source pictures (content-addressed): a data URI inside a request is stored once, jobs carry a reference to it.

The reference, ``data:,sha256-<hex of the data URI>``, is what predictions record as well. Clients cannot send one.
"""

import hashlib
import re
from typing import Any

from functions._shared.database.pool import Pool
from functions._shared.errors import InvalidRequest

REFERENCE = "data:,sha256-"
_REFERENCE = re.compile(f"{REFERENCE}[0-9a-f]{{64}}")


def is_reference(url: str) -> bool:
    return _REFERENCE.fullmatch(url) is not None


def reference_to(uri: str) -> str:
    """As ``picture_edge.keep_source_image`` makes them."""
    return REFERENCE + hashlib.sha256(uri.encode()).hexdigest()


async def kept_source(pool: Pool, url: str) -> str:
    """The data URI that a reference stands for; any other ``url`` is returned as it is.

    Raises InvalidRequest for a reference to a picture that was purged.
    """
    if not is_reference(url):
        return url
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select uri from public.source_images where reference = %s", (url,)
        )
        row: dict[str, Any] | None = await cursor.fetchone()
    if row is None:
        raise InvalidRequest("source_image_url: the picture is no longer kept, send it again")
    uri: str = row["uri"]
    return uri
