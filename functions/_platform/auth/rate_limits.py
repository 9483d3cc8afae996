"""Rate limits by client address, with GoTrue's rates and bursts."""

from starlette.requests import Request

from functions._platform.auth.errors import over_limit
from functions._shared.auth.throttle import AddressLimit
from functions._shared.settings import Settings

BURST = 30
"""Requests of one address at once, for all but anonymous sign-ups."""
PER = 300.0
"""Seconds that a rate is counted over; an hour for anonymous sign-ups."""
MAILING = ("signup", "recover", "resend", "magiclink", "otp", "user")
"""Endpoints that may send a mail: RATE_LIMIT_OTP applies to each by itself."""


class RateLimits:
    """One limit for each endpoint; a rate of 0 is no limit."""

    def __init__(self, settings: Settings) -> None:
        rates = {
            "token": settings.rate_limit_token_refresh,
            "verify": settings.rate_limit_verify,
            **dict.fromkeys(MAILING, settings.rate_limit_otp),
        }
        self._limits = {
            name: AddressLimit(burst=BURST, per_s=rate / PER)
            for name, rate in rates.items()
            if rate
        }
        if anonymous := settings.rate_limit_anonymous_users:
            self._limits["anonymous"] = AddressLimit(burst=anonymous, per_s=anonymous / 3600)

    def check(self, request: Request, name: str) -> None:
        """Count a request to the endpoint ``name``. Raises AuthError 429, with Retry-After."""
        limit = self._limits.get(name)
        wait = limit.take(request.client.host if request.client else "") if limit else 0
        if wait:
            raise over_limit(wait)
