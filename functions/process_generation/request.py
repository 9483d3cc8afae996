"""The body of process-generation."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from functions._shared.generation import GenerationRequest


class ProcessGenerationRequest(GenerationRequest):
    """A generation request; ``generation_id`` names its row, if it has one."""

    generation_id: Annotated[UUID, Field(strict=False)] | None = None
    """Must exist, as nothing is paid for a deleted or misspelt row. Nothing is written to the row."""
