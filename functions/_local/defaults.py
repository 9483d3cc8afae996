"""Default settings of the local stack: the well-known keys of ``supabase start``, addresses by port."""

from collections.abc import Mapping

from jose import jwt

from functions._shared.local_keys import LOCAL_JWT_SECRET
from functions._shared.local_keys import PUBLISHABLE_KEY as PUBLISHABLE_KEY
from functions._shared.local_keys import SECRET_KEY as SECRET_KEY
from functions._shared.setting_values import given

KEYS_EXPIRE = 1983812996
"""The claim ``exp`` of Supabase's local keys: with equal claims our keys are equal to the letter."""
WEBHOOK_SECRET = "whsec_bG9jYWwtc3RhY2stb25seS1ub3Qtc2VjcmV0"  # noqa: S105 - well-known, like the local keys
RATE_LIMITS = (
    "RATE_LIMIT_TOKEN_REFRESH",
    "RATE_LIMIT_OTP",
    "RATE_LIMIT_VERIFY",
    "RATE_LIMIT_ANONYMOUS_USERS",
)
"""Limits per address, which all clients of a laptop share: ``supabase start`` has none either."""
SANDBOX_TOKEN = "r8_sandbox"  # noqa: S105 - accepted by the sandbox only


def local_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with defaults for absent settings; a setting that is given is never changed.

    The permissive ones (ALLOW_ANON, no rate limits, well-known webhook secret and API keys) apply with the well-known
    JWT secret only.
    """
    chosen = given(environ)
    api_port, db_port = chosen.get("EDGE_PORT", "54321"), chosen.get("EDGE_DB_PORT", "54322")
    secret = chosen.get("SUPABASE_JWT_SECRET", LOCAL_JWT_SECRET)
    values = {
        "LOG_LEVEL": "INFO",
        "SUPABASE_URL": address_of(chosen.get("EDGE_HOST", "127.0.0.1"), api_port),
        "SUPABASE_DB_URL": f"postgresql://postgres:postgres@127.0.0.1:{db_port}/postgres",
        "SUPABASE_JWT_SECRET": secret,
        "SUPABASE_ANON_KEY": sign_key(secret, "anon"),
        "SUPABASE_SERVICE_ROLE_KEY": sign_key(secret, "service_role"),
    }
    if "SUPABASE_DB_URL" not in chosen:
        values["PGRST_DB_URI"] = f"postgresql://authenticator:postgres@127.0.0.1:{db_port}/postgres"
    if "SUPABASE_UPSTREAM_URL" not in chosen:
        values["SERVE"] = "auth,rest,realtime,storage,example"
        values["ENABLE_EMAIL_AUTOCONFIRM"] = "true"
    if secret == LOCAL_JWT_SECRET:
        values["ALLOW_ANON"] = "true"
        values.update(dict.fromkeys(RATE_LIMITS, "0"))
        values["WEBHOOK_SECRET"] = WEBHOOK_SECRET
        values["SMTP_MAX_FREQUENCY"] = "1"
        values["SUPABASE_PUBLISHABLE_KEYS"] = f'{{"default": "{PUBLISHABLE_KEY}"}}'
        values["SUPABASE_SECRET_KEYS"] = f'{{"default": "{SECRET_KEY}"}}'
    if uses_sandbox(chosen):
        values["REPLICATE_API_TOKEN"] = SANDBOX_TOKEN
        values["REPLICATE_API_URL"] = (
            f"http://127.0.0.1:{chosen.get('EDGE_SANDBOX_PORT', '54330')}/v1"
        )
    return {**values, **chosen}


def address_of(host: str, port: int | str) -> str:
    """The URL at which this machine reaches a server that listens on ``host``, all interfaces included."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def uses_sandbox(environ: Mapping[str, str]) -> bool:
    """Whether the sandbox stands in for Replicate, as no Replicate token is set."""
    return not {"REPLICATE_API_TOKEN", "REPLICATE_API_KEY"} & given(environ).keys()


def sign_key(secret: str, role: str) -> str:
    """Sign a long-lived API key (JWT) for ``role``, in Supabase's form: no user, no audience."""
    return jwt.encode(
        {"iss": "supabase-demo", "role": role, "exp": KEYS_EXPIRE}, secret, algorithm="HS256"
    )
