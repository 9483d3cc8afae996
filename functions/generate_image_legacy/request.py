"""The body of generate-image."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from functions._shared.generation import GenerationRequest


class LegacyRequest(GenerationRequest):
    """A generation, and perhaps the row the client has already inserted."""

    generation_id: Annotated[UUID, Field(strict=False)] | None = None
