"""GET /health, /settings and the documents under /.well-known: for anybody."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from functions._platform.auth.context import auth_of

VERSION = "v2.190.0"
"""The version of GoTrue whose API this is."""
PROVIDERS = (
    "apple", "azure", "bitbucket", "discord", "facebook", "snapchat", "figma", "fly", "github", "gitlab", "google",
    "keycloak", "kakao", "linkedin", "linkedin_oidc", "notion", "spotify", "slack", "slack_oidc", "workos", "twitch",
    "twitter", "zoom",
)  # fmt: skip
"""External providers; none is served here."""
CLAIMS = (
    "sub", "aud", "iss", "exp", "iat", "auth_time", "nonce", "email", "email_verified", "phone_number",
    "phone_number_verified", "name", "picture", "preferred_username", "updated_at",
)  # fmt: skip
"""Of GoTrue's ID tokens (OpenID Connect Core, section 2 and 5.1)."""
CACHED = {"Cache-Control": "public, max-age=600"}


async def health(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "version": VERSION,
            "name": "GoTrue",
            "description": "GoTrue is a user registration and authentication API",
        }
    )


async def settings(request: Request) -> JSONResponse:
    """What can be used: a client's sign-in page is drawn by it."""
    chosen = auth_of(request).settings
    external = {
        "anonymous_users": chosen.enable_anonymous_users,
        **dict.fromkeys(PROVIDERS, False),
        "email": chosen.enable_email_signup,
        "phone": False,
    }
    return JSONResponse(
        {
            "external": external,
            "disable_signup": chosen.disable_signup,
            "mailer_autoconfirm": chosen.enable_email_autoconfirm,
            "phone_autoconfirm": False,
            "sms_provider": "",
            "saml_enabled": False,
            "saml_private_key_next_configured": False,
            "passkeys_enabled": False,
        }
    )


async def jwks(request: Request) -> JSONResponse:
    """The public signing keys; a symmetric secret is never listed."""
    keys = [key.public for key in auth_of(request).settings.supabase_signing_keys]
    return JSONResponse({"keys": keys}, headers=CACHED)


async def openid_configuration(request: Request) -> JSONResponse:
    """OpenID Connect Discovery: verifiers find the keys by it. As GoTrue's, whose OAuth server may be off as well."""
    issuer = f"{auth_of(request).settings.public_base}/auth/v1"
    return JSONResponse(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth/authorize",
            "token_endpoint": f"{issuer}/oauth/token",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "userinfo_endpoint": f"{issuer}/oauth/userinfo",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "ES256"],
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic",
                "client_secret_post",
                "none",
            ],
            "code_challenge_methods_supported": ["S256", "plain"],
            "scopes_supported": ["openid", "profile", "email", "phone", "offline_access"],
            "claims_supported": CLAIMS,
        },
        headers=CACHED,
    )
