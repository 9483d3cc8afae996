"""GoTrue endpoints that are not served (OAuth, SAML, MFA, passkeys): refused with its codes for switched-off ones."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.callers import admin_only, signed_in
from functions._platform.auth.endpoints.public_info import PROVIDERS
from functions._platform.auth.errors import AuthError, validation_failed

Handler = Callable[[Request], Awaitable[Response]]
Check = Callable[[Request], Awaitable[object]]
FACTORS = {
    "totp": ("totp", "TOTP"),
    "phone": ("phone", "Phone"),
    "webauthn": ("webauthn", "WebAuthn"),
}
"""factor_type → its part of the error code, and its name."""
ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class FactorParams(Params):
    factor_type: str = ""


def refused(code: str, message: str, only: Check | None = None) -> Handler:
    """404 with a code that names the switched-off feature; ``only``: who may be told, others are refused before."""

    async def handler(request: Request) -> Response:
        if only:
            await only(request)
        raise AuthError(404, code, message)

    return handler


async def authorize(request: Request) -> Response:
    name = request.query_params.get("provider", "")
    why = (
        "provider is not enabled"
        if name.lower() in PROVIDERS
        else f"Provider {name[:50]} could not be found"
    )
    raise validation_failed(f"Unsupported provider: {why}")


async def callback(request: Request) -> Response:
    raise AuthError(400, "bad_oauth_callback", "OAuth state parameter missing")


async def enroll_factor(request: Request) -> Response:
    await signed_in(request)
    params = await read_params(request, FactorParams)
    if params.factor_type not in FACTORS:
        raise validation_failed("factor_type needs to be totp, phone, or webauthn")
    code, name = FACTORS[params.factor_type]
    raise AuthError(422, f"mfa_{code}_enroll_not_enabled", f"MFA enroll is disabled for {name}")


async def nothing_listed(request: Request) -> Response:
    """No factors, passkeys, providers: an empty list for the service role."""
    await admin_only(request)
    return JSONResponse([])


SAML = ("saml_provider_disabled", "SAML 2.0 is disabled")
LINKING = ("manual_linking_disabled", "Manual linking is disabled")
OAUTH_SERVER = ("feature_disabled", "OAuth server is disabled")
PROVIDERS_OF_ONES_OWN = ("feature_disabled", "Custom OAuth providers are disabled")
SCIM = ("feature_disabled", "SCIM server is disabled")
PASSKEYS = ("passkey_disabled", "Passkeys are disabled")
FACTOR = ("mfa_factor_not_found", "Factor not found")
OF_A_USER = "/admin/users/{user_id}"

routes: list[BaseRoute] = [
    Route("/authorize", authorize, methods=["GET"]),
    Route("/callback", callback, methods=["GET", "POST"]),
    Route("/factors", enroll_factor, methods=["POST"]),
    Route("/factors/{rest:path}", refused(*FACTOR, signed_in), methods=ANY),
    Route("/user/identities/{rest:path}", refused(*LINKING, signed_in), methods=["GET", "DELETE"]),
    Route("/user/oauth/grants", refused(*OAUTH_SERVER, signed_in), methods=["GET", "DELETE"]),
    Route("/sso", refused(*SAML), methods=["POST"]),
    Route("/sso/{rest:path}", refused(*SAML), methods=["GET", "POST"]),
    Route("/passkeys", refused(*PASSKEYS), methods=["GET"]),
    Route("/passkeys/{rest:path}", refused(*PASSKEYS), methods=ANY),
    Route("/oauth/{rest:path}", refused(*OAUTH_SERVER), methods=["GET", "POST"]),
    Route("/.well-known/oauth-authorization-server", refused(*OAUTH_SERVER), methods=["GET"]),
    Route("/scim/{rest:path}", refused(*SCIM), methods=ANY),
    Route("/admin/audit", nothing_listed, methods=["GET"]),
    Route(f"{OF_A_USER}/factors", nothing_listed, methods=["GET"]),
    Route(f"{OF_A_USER}/factors/{{rest:path}}", refused(*FACTOR, admin_only), methods=ANY),
    Route(f"{OF_A_USER}/passkeys", refused(*PASSKEYS, admin_only), methods=["GET"]),
    Route("/admin/sso/{rest:path}", refused(*SAML, admin_only), methods=ANY),
    Route("/admin/oauth/{rest:path}", refused(*OAUTH_SERVER, admin_only), methods=ANY),
    Route(
        "/admin/custom-providers",
        refused(*PROVIDERS_OF_ONES_OWN, admin_only),
        methods=["GET", "POST"],
    ),
]
