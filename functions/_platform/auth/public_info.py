"""GET /health, /settings, /.well-known/jwks.json: for anybody."""

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
    return JSONResponse({"keys": keys}, headers={"Cache-Control": "public, max-age=600"})
