"""The body of an upload: a form with one file, as supabase-py sends it, or plain bytes; bounded in size and time."""

import asyncio

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from functions._platform.storage.errors import StorageError, too_large

UPLOAD_S = 600.0
"""Until the whole body has arrived: 50 MiB at 0.7 Mbit/s."""


async def read_upload(request: Request, max_bytes: int) -> bytes:
    """The object's bytes; ``max_bytes`` bounds the whole body, a form's other parts included. Raises StorageError."""
    if int(request.headers.get("content-length") or 0) > max_bytes:
        raise too_large()
    bounded = Request(request.scope, _bounded(request, max_bytes))
    try:
        async with asyncio.timeout(UPLOAD_S):
            if not request.headers.get("content-type", "").startswith("multipart/"):
                return await bounded.body()
            async with bounded.form(max_files=1) as form:
                for part in form.values():
                    if isinstance(part, UploadFile):
                        return await part.read()
    except TimeoutError:
        raise StorageError(408, "RequestTimeout", "The object took too long to arrive") from None
    except HTTPException as error:  # Starlette's, for a malformed form
        raise StorageError(400, "invalid_request", error.detail) from None
    raise StorageError(400, "invalid_request", "The form holds no file")


def _bounded(request: Request, max_bytes: int) -> Receive:
    """``request``'s ASGI messages, counted: a chunked body declares no length."""
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise too_large()
        return message

    return receive
