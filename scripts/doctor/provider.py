"""Checks of the provider: the account behind the token, without paying, and how it tells us that a picture is done."""

from functions._shared.errors import GenerationFailed
from functions._shared.settings import Settings
from scripts.doctor.deployment import Deployment
from scripts.doctor.findings import Finding, ok, warning, wrong

TOKENS = "REPLICATE_API_TOKEN=<from https://replicate.com/account/api-tokens>"
API = "REPLICATE_API_URL=https://api.replicate.com/v1"
REMEDIES = {
    "unauthorised": TOKENS,
    "out_of_credit": "open https://replicate.com/account/billing",
}
"""Error class → the line to type."""


def address(settings: Settings) -> str:
    return str(settings.replicate_api_url)


async def account(deployment: Deployment) -> Finding:
    if deployment.settings.replicate_api_token is None:
        return wrong("REPLICATE_API_TOKEN is not set", TOKENS)
    try:
        return ok(f"account {await deployment.resources.replicate.account()}")
    except GenerationFailed as failure:
        return wrong(told := str(failure), _remedy(told, failure.error_class, deployment.settings))


def _remedy(told: str, error_class: str | None, settings: Settings) -> str:
    if "(404)" in told:
        return API
    reach = f"curl -sS -m 9 -o /dev/null -w '%{{http_code}}\\n' {address(settings)}"
    return REMEDIES.get(error_class or "", reach)


async def calls_back(deployment: Deployment) -> Finding:
    settings = deployment.settings
    if settings.callback_base is None:
        return ok("polled: it calls back at a PUBLIC_URL with https only")
    try:
        await deployment.resources.replicate.webhook_secret()
    except GenerationFailed as failure:
        return warning(f"the secret of its calls is not to be had: {failure}", TOKENS)
    return ok(f"calls back at {settings.callback_base}")
