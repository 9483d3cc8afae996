"""A request → what is sent to the provider: the model found, its input built, the source picture fetched."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from functions._shared.database.pool import Pool
from functions._shared.errors import FunctionError, GenerationFailed, InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import ImageModel
from functions._shared.image_models.meaning.pictures import file_keys
from functions._shared.image_models.reference import is_deployment
from functions._shared.pictures.formats import CONTENT_TYPES
from functions._shared.pictures.header import Broken, Truncated
from functions._shared.provider.failures import NotCreated
from functions._shared.resources import Resources
from functions._shared.web.own_input import addresses_in, each_address
from functions.process_generation.inputs import build_input
from functions.process_generation.kept_sources import is_reference, kept_source, reference_to
from functions.process_generation.normalise import Source, normalised
from functions.process_generation.words import output_format_of

SOURCE = "source_image_url"
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
    files = _Files(resources, pool)
    sent = {
        key: await _with_files(key, value, request, model, files)
        for key, value in built.input.items()
    }
    return ProviderRequest(
        model=model,
        version=_version(request, model),
        input=sent,
        recorded={key: _recorded(value) for key, value in built.input.items()},
        format=output_format_of(built.input, model),
        adjustments=(*built.adjustments, *files.notes),
    )


def _version(request: GenerationRequest, model: ImageModel) -> str | None:
    """The hash to create by; of a deployment that of its release, by which its predictions are recognised."""
    pinned = None if is_deployment(model.replicate_id) else request.model_version
    return (pinned or model.version) if model.version else None


@dataclass
class _Files:
    """Fetches pictures for the provider. ``notes``: for ``adjustments``, such as frames left out."""

    resources: Resources
    pool: Pool
    notes: list[str] = field(default_factory=list)

    async def fetched(self, address: str, name: str) -> str:
        """The picture as the provider can read it. ``name``: the request's field, for errors and notes."""
        with source_errors_named(name):
            source = await _fetch(self.resources, await kept_source(self.pool, address))
            readable = await _readable(self.resources, source)
        if source.note:
            self.notes.append(source.note.replace(SOURCE, name, 1))
        return readable


async def _with_files(
    key: str, value: Any, request: GenerationRequest, model: ImageModel, files: _Files
) -> Any:
    """An input value with its pictures fetched for the provider; other addresses of ``input`` are only checked."""
    url = request.source_image_url
    if key in (request.input or {}):
        name = f"input.{key}"
        pictured = key in file_keys(model.all_properties)
        fetched: dict[str, str] = {}
        for _, address in addresses_in({"": value}):
            if pictured:
                fetched[address] = await files.fetched(address, name)
            else:
                with source_errors_named(name):
                    files.resources.fetcher.check_source(address)
        return each_address(value, lambda address: fetched.get(address, address))
    source = model.meaning.source
    if url is not None and source and key == source.key and value in (url, [url]):
        picture = await files.fetched(url, SOURCE)
        return picture if value == url else [picture]
    return value


@contextmanager
def source_errors_named(name: str) -> Iterator[None]:
    """Errors about a source picture name the field ``name`` instead."""
    try:
        yield
    except FunctionError as error:
        error.args = tuple(str(part).replace(SOURCE, name, 1) for part in error.args)
        raise


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
    return each_address(value, _by_digest)


def _by_digest(address: str) -> str:
    inside = address[:5].casefold() == "data:" and not is_reference(address)
    return reference_to(address) if inside else address


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
