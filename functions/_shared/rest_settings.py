"""The settings of /rest/v1, under PostgREST's own names (PGRST_…); defaults are its own unless a field says so."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PositiveInt, SecretStr

from functions._shared.setting_values import Names, postgres_address


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


class RestSettings(BaseModel):
    """A part of ``Settings``."""

    pgrst_db_uri: Annotated[SecretStr | None, AfterValidator(postgres_address)] = None
    """Login role and database of /rest/v1 (Supabase: authenticator's); absent: ``supabase_db_url``."""
    pgrst_db_schemas: Names = ("public",)
    """Exposed schemas; the first is the default one."""
    pgrst_db_extra_search_path: Names = ("public", "extensions")
    """Schemas behind the exposed one in search_path. PostgREST's default is public alone, Supabase's is this."""
    pgrst_db_anon_role: Annotated[str | None, BeforeValidator(_none_if_empty)] = "anon"
    """The role of requests without a token; empty: they are refused (PGRST302)."""
    pgrst_db_max_rows: Annotated[PositiveInt | None, BeforeValidator(_none_if_empty)] = 1000
    """The largest number of rows of an answer; empty: any number. PostgREST's default is that, Supabase's is 1000."""
    pgrst_db_pre_request: str | None = None
    """A function without arguments, called at the start of every request's transaction."""
    pgrst_db_tx_end: Literal[
        "commit", "commit-allow-override", "rollback", "rollback-allow-override"
    ] = "commit"
    pgrst_db_plan_enabled: bool = False
    """Whether application/vnd.pgrst.plan shows execution plans."""
    pgrst_db_aggregates_enabled: bool = False
    pgrst_db_prepared_statements: bool = True
    """Behind a transaction pooler none are prepared, whatever this says."""
    pgrst_db_pool: PositiveInt = 10
    """Connections of /rest/v1, a pool of its own."""
    pgrst_server_timing_enabled: bool = False
    pgrst_openapi_mode: Literal["follow-privileges", "ignore-privileges", "disabled"] = Field(
        "follow-privileges"
    )
    pgrst_openapi_security_active: bool = False
    """Whether the root document says that requests may carry a token."""
    pgrst_openapi_server_proxy_uri: Annotated[str | None, BeforeValidator(_none_if_empty)] = None
    """Base URL of /rest/v1 in the root document; absent: as the request had it."""
