"""The body of start-generation."""

from typing import Annotated

from pydantic import Field

from functions._shared.generation import GenerationRequest
from functions._shared.web.fields import HttpAddress


class StartRequest(GenerationRequest):
    """A generation, and perhaps where to tell of its end."""

    webhook_url: Annotated[HttpAddress, Field(max_length=2000)] | None = None
