"""A request → what is sent to the provider: the model found, its input built, the source picture fetched."""

import base64
from dataclasses import dataclass
from typing import Any

from functions._shared.database.pool import Pool
from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import ImageModel
from functions._shared.pictures.formats import CONTENT_TYPES
from functions._shared.pictures.header import Broken, Truncated
from functions._shared.provider.failures import NotCreated
from functions._shared.resources import Resources
from functions.process_generation.inputs import build_input, output_format_of
from functions.process_generation.kept_sources import is_reference, kept_source, reference_to
from functions.process_generation.normalise import Source, normalised

LARGEST_DATA_URI_BYTES = 256 * 1000
"""Replicate's limit of a data URI; above it the file is uploaded. Counted before base64, which adds a third."""


@dataclass(frozen=True)
class ProviderRequest:
    """``input`` is sent; ``recorded`` is stored: the source picture by its address, or by its digest."""

    model: ImageModel
    version: str | None
    input: dict[str, Any]
    recorded: dict[str, Any]
    format: str
    adjustments: tuple[str, ...]


async def prepare(request: GenerationRequest, resources: Resources, pool: Pool) -> ProviderRequest:
    """Raises InvalidRequest for what no retry can mend, GenerationFailed for a source picture out of reach."""
    model = await resources.models.resolve(request.model_id, pool)
    built = build_input(request, model)
    url = request.source_image_url
    sent, notes = built.input, built.adjustments
    if url is not None and any(value in (url, [url]) for value in sent.values()):
        source = await _fetch(resources, await kept_source(pool, url))
        picture = await _readable(resources, source)
        notes = (*notes, source.note) if source.note else notes
        sent = {
            key: picture if value == url else [picture] if value == [url] else value
            for key, value in sent.items()
        }
    return ProviderRequest(
        model=model,
        version=(request.model_version or model.version) if model.version else None,
        input=sent,
        recorded={key: _recorded(value) for key, value in built.input.items()},
        format=output_format_of(built.input, model),
        adjustments=notes,
    )


async def prepare_again(
    old: ProviderRequest,
    refused: NotCreated,
    request: GenerationRequest,
    resources: Resources,
    pool: Pool,
) -> ProviderRequest:
    """The request by the model's current schema, after a create was refused for its input or its version.

    Raises ``refused`` where the schema has not changed, or changes nothing that is sent.
    """
    if refused.error_class not in {"bad_input", "unknown_model"}:
        raise refused
    try:
        changed = await resources.models.refresh(old.model.replicate_id, pool)
    except GenerationFailed:
        raise refused from None
    if not changed:
        raise refused
    new = await prepare(request, resources, pool)
    if (new.version, new.recorded) == (old.version, old.recorded):
        raise refused
    return new


def _recorded(value: Any) -> Any:
    """An input value as it is stored: a picture inside the request by its digest."""
    if isinstance(value, list):
        return [_recorded(part) for part in value]
    if isinstance(value, str) and value.startswith("data:") and not is_reference(value):
        return reference_to(value)
    return value


async def _fetch(resources: Resources, url: str) -> Source:
    """The source picture as models take it."""
    fetched = await resources.fetcher.source(url)
    try:
        return await normalised(fetched, resources.settings.max_source_pixels)
    except Broken as error:
        text = f"source_image_url: the file is not a whole picture: {error}"
        if isinstance(error, Truncated) and not url.startswith("data:"):
            raise GenerationFailed(text) from None  # retried: perhaps it is still being uploaded
        raise InvalidRequest(text) from None


async def _readable(resources: Resources, source: Source) -> str:
    """The picture as the provider can read it: a data URI, or the address of an uploaded file."""
    content_type = CONTENT_TYPES[source.format]
    if len(source.data) <= LARGEST_DATA_URI_BYTES:
        return f"data:{content_type};base64,{base64.b64encode(source.data).decode()}"
    return await resources.replicate.upload(source.data, f"source.{source.format}", content_type)
