"""The body of process-generation."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from functions._shared.generation import GenerationRequest


class ProcessGenerationRequest(GenerationRequest):
    """A generation, and perhaps the row that it is for."""

    generation_id: Annotated[UUID, Field(strict=False)] | None = None
    """A row there must be: nothing is paid for one that is deleted or misspelt. Nothing is written to it."""
