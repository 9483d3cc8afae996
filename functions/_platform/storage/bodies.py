"""JSON bodies of the service's requests, validated; errors in Storage's form."""

from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from functions._platform.storage.errors import invalid_request
from functions._shared.errors import InvalidRequest
from functions._shared.web.bodies import read_body

M = TypeVar("M", bound=BaseModel)


async def body_of(request: Request, model: type[M]) -> M:
    """Raises StorageError: InvalidRequest; FunctionError for a body that is too large or too slow."""
    try:
        return await read_body(request, model)
    except InvalidRequest as error:
        raise invalid_request(str(error)) from None
