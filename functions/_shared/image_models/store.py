"""Resolve a model by id or alias: models table, then catalogue, then Replicate's API (stored after).

The table has precedence, so that an operator can correct a schema or switch a model off. Without the database the
catalogue serves alone.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from functions._shared.database.pool import Pool
from functions._shared.errors import InvalidRequest
from functions._shared.image_models.catalog import (
    ImageModel,
    find_model,
    model_from_schema,
    unknown_model,
)
from functions._shared.image_models.describe import beyond_a_request, describe
from functions._shared.image_models.reference import (
    OWNER_AND_NAME,
    VERSION,
    Reference,
    is_deployment,
    read_reference,
)
from functions._shared.image_models.schema_reader import read_schema
from functions._shared.provider.failures import Failure
from functions._shared.provider.replicate import Replicate

log = logging.getLogger(__name__)

CACHE_TTL_S = 30.0
"""Time to live of cached lookups in seconds: until then a change made by another process is not seen."""
CACHE_SIZE = 1000
TABLE_TIMEOUT_S = 1.0
"""Wait for a connection in seconds before falling back to the catalogue (graceful degradation)."""

FIND_ROW = """
select replicate_id, name, input_schema, version, is_active, retired_reason from public.models
where replicate_id = %(id)s or lower(replicate_id) = lower(%(word)s) or lower(%(word)s) = any (aliases)
order by replicate_id = %(id)s desc limit 1
"""
RETIRE = """
insert into public.models (replicate_id, name, is_active, retired_reason) values (%s, %s, false, %s)
on conflict (replicate_id) do update set retired_reason = excluded.retired_reason, is_active = false
"""


class ModelStore:
    """Finds models, with a cache of lookups and refusals (negative caching). One instance a process."""

    def __init__(self, replicate: Replicate) -> None:
        self._replicate = replicate
        self._cache: dict[str, tuple[float, ImageModel | InvalidRequest]] = {}
        self._fetching = asyncio.Lock()
        """Serialises requests to Replicate: made-up names must not exhaust the provider's rate limit."""

    async def resolve(self, model_id: str, pool: Pool) -> ImageModel:
        """The model of that id, alias or web address, or the deployment; ``owner/name:hash`` pins a version.

        Raises InvalidRequest for an unknown model (naming the nearest ids), for a model that takes no prompt, and for
        a model that is switched off.
        """
        reference = read_reference(model_id)
        word, version = reference.name, reference.version
        if version is not None:
            _check_version(model_id, reference)
        known = self._cached(word)
        if known is None:
            try:
                known = await self._look_up(word, pool)
            except InvalidRequest as refusal:
                known = refusal
            self._put_in_cache(word, known)
        if isinstance(known, InvalidRequest):
            raise InvalidRequest(str(known))
        return replace(known, version=version) if version else known

    async def refresh(self, replicate_id: str, pool: Pool) -> bool:
        """Fetch the model from Replicate and store it; returns whether its input schema or version changed.

        A model that Replicate no longer has is marked as retired. Raises Failure when Replicate does not answer.
        """
        catalogued = find_model(replicate_id)
        known_id = catalogued.replicate_id if catalogued else replicate_id
        row = await self._find_row(known_id, replicate_id, pool)
        try:
            document = await self._document(known_id)
        except Failure as error:
            if error.error_class != "unknown_model":
                raise
            if not (row or catalogued):
                raise unknown_model(replicate_id) from None
            await self._retire(known_id, pool)
            return True
        await self._store(known_id, document, pool)
        self._cache.clear()
        new = await self._find_row(known_id, replicate_id, pool)
        parts = ("input_schema", "version")
        return row is None or new is None or any(row[part] != new[part] for part in parts)

    async def _look_up(self, word: str, pool: Pool) -> ImageModel:
        catalogued = find_model(word)
        row = await self._find_row(catalogued.replicate_id if catalogued else word, word, pool)
        if row and (row["retired_reason"] or not row["is_active"]):
            reason = row["retired_reason"] or "it is switched off"
            raise InvalidRequest(f"Model {row['replicate_id']} is not available: {reason}")
        if row and row["input_schema"]:
            model = model_from_schema(row["replicate_id"], row["input_schema"])
            return _require_usable(replace(model, name=row["name"], version=row["version"]))
        if row and catalogued is None:
            catalogued = find_model(row["replicate_id"])
        if catalogued and row:
            version = row["version"] or catalogued.version
            return _require_usable(replace(catalogued, name=row["name"], version=version))
        if catalogued:
            return _require_usable(catalogued)
        return await self._fetch(row["replicate_id"] if row else word, pool)

    async def _find_row(self, replicate_id: str, word: str, pool: Pool) -> dict[str, Any] | None:
        try:
            async with pool.connection(timeout=TABLE_TIMEOUT_S) as connection:
                cursor = await connection.execute(FIND_ROW, {"id": replicate_id, "word": word})
                return await cursor.fetchone()
        except psycopg.Error as error:
            log.warning("the models table does not answer: %s", type(error).__name__)
            return None

    async def _fetch(self, word: str, pool: Pool) -> ImageModel:
        if not Reference(word).is_wellformed:
            raise unknown_model(word)
        async with self._fetching:
            known = self._cached(word)
            if isinstance(known, ImageModel):
                return known
            try:
                document = await self._document(word)
            except Failure as error:
                if error.error_class == "forbidden":
                    raise InvalidRequest(
                        f"Model {word} is not open to this server's Replicate account"
                    ) from None
                why = "" if error.error_class == "unknown_model" else f" ({error})"
                raise unknown_model(word, why) from None
        return await self._store(word, document, pool)

    async def _document(self, word: str) -> dict[str, Any]:
        """The model as Replicate's API describes it; a deployment as a model of its current release's version.

        Raises Failure; InvalidRequest for a deployment without a readable release.
        """
        if not is_deployment(word):
            return await self._replicate.model(word.casefold())
        deployment = await self._replicate.deployment(word.casefold())
        release = _object(deployment.get("current_release"))
        model, version = str(release.get("model")), str(release.get("version"))
        if not OWNER_AND_NAME.fullmatch(model) or not VERSION.fullmatch(version):
            raise InvalidRequest(f"{word} has no release yet")
        return {"latest_version": await self._replicate.model(model, version)}

    async def _store(self, word: str, document: dict[str, Any], pool: Pool) -> ImageModel:
        """Build the model that Replicate's ``document`` describes, and upsert it into the models table.

        Raises InvalidRequest for a document that we cannot use; a database error is logged only.
        """
        latest = _object(document.get("latest_version"))
        openapi_schema = latest.get("openapi_schema")
        named = f"{document.get('owner')}/{document.get('name')}"
        replicate_id = named if OWNER_AND_NAME.fullmatch(named) and document.get("name") else word
        if not latest:
            raise InvalidRequest(f"{replicate_id} has no published version")
        try:
            model = model_from_schema(replicate_id, openapi_schema)
        except InvalidRequest:
            raise InvalidRequest(f"{replicate_id}: its input schema cannot be read") from None
        version = None if document.get("is_official") is True else latest.get("id")
        if version is not None and not (isinstance(version, str) and VERSION.fullmatch(version)):
            raise InvalidRequest(f"{replicate_id}: its version cannot be read")
        model = _require_usable(replace(model, version=version))
        if not _outputs_files(openapi_schema):
            raise InvalidRequest(f"{replicate_id} makes no pictures")
        own = {"replicate_id": replicate_id, "name": model.name}
        schema = Jsonb(read_schema(openapi_schema))
        columns = {**own, **describe(model), "input_schema": schema, "version": version}
        try:
            async with pool.connection() as connection:
                await connection.execute(_upsert(columns), columns)
        except psycopg.Error as error:
            log.warning("model %s could not be kept: %s", replicate_id, type(error).__name__)
        return model

    async def _retire(self, replicate_id: str, pool: Pool) -> None:
        reason = "Replicate no longer has it"
        async with pool.connection() as connection:
            await connection.execute(
                RETIRE, (replicate_id, replicate_id.rpartition("/")[2], reason)
            )
        self._cache.clear()
        log.warning("model %s: %s", replicate_id, reason)

    def _cached(self, word: str) -> ImageModel | InvalidRequest | None:
        until, known = self._cache.get(word, (0.0, None))
        return known if until > time.monotonic() else None

    def _put_in_cache(self, word: str, known: ImageModel | InvalidRequest) -> None:
        self._cache.pop(word, None)
        if len(self._cache) >= CACHE_SIZE:
            del self._cache[next(iter(self._cache))]
        self._cache[word] = (time.monotonic() + CACHE_TTL_S, known)


def _upsert(columns: Mapping[str, Any]) -> sql.Composed:
    """The upsert of a fetched model; an existing row keeps the operator's columns: name and defaults."""
    derived = [
        n for n in columns if n not in {"replicate_id", "name"} and not n.startswith("default_")
    ]
    return sql.SQL(
        "insert into public.models ({}, fetched_at) values ({}, now())"
        " on conflict (replicate_id) do update set {}, fetched_at = now(), is_active ="
        " models.is_active or models.retired_reason is not null, retired_reason = null"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Placeholder, columns)),
        sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in derived
        ),
    )


def _require_usable(model: ImageModel) -> ImageModel:
    if reason := beyond_a_request(model):
        raise InvalidRequest(reason)
    return model


def _object(value: Any) -> dict[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _outputs_files(openapi_schema: Any) -> bool:
    """Whether the Output schema contains a URI, or may: language models have prompts too.

    One that is absent or of any type tells nothing: the model is tried.
    """
    schemas = _object(_object(_object(openapi_schema).get("components")).get("schemas"))
    output = schemas.get("Output")
    if output is None or "'format': 'uri'" in str(output):
        return True
    item = _object(output).get("items", output)
    said = {"type", "$ref", "allOf", "anyOf", "oneOf", "enum", "const", "properties", "items"}
    return isinstance(item, dict) and not said & item.keys()


def _check_version(model_id: str, reference: Reference) -> None:
    """Refuse a pinned version that cannot be one."""
    if VERSION.fullmatch(reference.version or ""):
        if reference.is_deployment:
            raise InvalidRequest(f"{model_id}: a deployment has a version of its own")
        return
    if not reference.is_wellformed:
        raise unknown_model(model_id.strip())
    raise InvalidRequest(f"{model_id}: a version has 64 hexadecimal digits")
