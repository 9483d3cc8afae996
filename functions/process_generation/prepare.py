"""A request → what is sent to the provider: the model found, its input built, the source picture brought along."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from functions._shared.database.pool import Pool
from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import ImageModel
from functions._shared.pictures.formats import CONTENT_TYPES
from functions._shared.pictures.headers import Broken
from functions._shared.provider.failures import NotCreated
from functions._shared.resources import Resources
from functions.process_generation.inputs import build_input, output_format_of
from functions.process_generation.source_images import is_reference, kept_source, reference_to
from functions.process_generation.source_picture import made_right

T = TypeVar("T")

LARGEST_DATA_URI_BYTES = 256 * 1000
"""Above this Replicate wants a file uploaded; the limit is on the picture, whose base64 is a third longer."""


@dataclass(frozen=True)
class Prepared:
    """``input`` is sent; ``recorded`` is written down: the source picture by its address, or by its digest."""

    model: ImageModel
    version: str | None
    input: dict[str, Any]
    recorded: dict[str, Any]
    format: str
    adjustments: tuple[str, ...]


async def with_current_model(
    request: GenerationRequest,
    resources: Resources,
    pool: Pool,
    attempt: Callable[[Prepared], Awaitable[T]],
) -> T:
    """``attempt`` with the request prepared; once more if the provider refused it and its model has changed since."""
    prepared = await _prepare(request, resources, pool)
    try:
        return await attempt(prepared)
    except NotCreated as refused:
        fresh = await _prepared_afresh(prepared, refused, request, resources, pool)
        if fresh is None:
            raise
    return await attempt(fresh)


async def _prepared_afresh(
    old: Prepared,
    refused: NotCreated,
    request: GenerationRequest,
    resources: Resources,
    pool: Pool,
) -> Prepared | None:
    """The request by the model as it is today; None where that is no different."""
    if refused.error_class not in {"bad_input", "unknown_model"}:
        return None
    try:
        if not await resources.models.refresh(old.model.replicate_id, pool):
            return None
    except GenerationFailed:
        return None
    new = await _prepare(request, resources, pool)
    return None if (new.version, new.recorded) == (old.version, old.recorded) else new


async def _prepare(request: GenerationRequest, resources: Resources, pool: Pool) -> Prepared:
    """Raises InvalidRequest for what no attempt can mend, GenerationFailed for a source picture out of reach."""
    model = await resources.models.resolve(request.model_id, pool)
    built = build_input(request, model)
    url = request.source_image_url
    sent = built.input
    if url is not None and any(value in (url, [url]) for value in sent.values()):
        picture = await _bring(resources, await kept_source(pool, url))
        sent = {
            key: picture if value == url else [picture] if value == [url] else value
            for key, value in sent.items()
        }
    return Prepared(
        model=model,
        version=(request.model_version or model.version) if model.version else None,
        input=sent,
        recorded={key: _told(value) for key, value in built.input.items()},
        format=output_format_of(built.input, model),
        adjustments=built.adjustments,
    )


def _told(value: Any) -> Any:
    """A value as it is written down: a picture inside the request by its digest."""
    if isinstance(value, list):
        return [_told(part) for part in value]
    if isinstance(value, str) and value.startswith("data:") and not is_reference(value):
        return reference_to(value)
    return value


async def _bring(resources: Resources, url: str) -> str:
    """The source picture as the provider can read it: a data URI, or the address of an uploaded file."""
    fetched = await resources.fetcher.source(url)
    try:
        data, picture_format = await made_right(fetched, resources.settings.max_source_pixels)
    except Broken as error:
        text = f"source_image_url: the file is not a whole JPEG, PNG or WebP picture: {error}"
        if url.startswith("data:"):
            raise InvalidRequest(text) from None
        raise GenerationFailed(text) from None  # it may be there whole a moment later
    content_type = CONTENT_TYPES[picture_format]
    if len(data) <= LARGEST_DATA_URI_BYTES:
        return f"data:{content_type};base64,{base64.b64encode(data).decode()}"
    return await resources.replicate.upload(data, f"source.{picture_format}", content_type)
