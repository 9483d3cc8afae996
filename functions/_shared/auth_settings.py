"""The settings of /auth/v1, under the names that Supabase's self-hosting (its docker .env) and GoTrue give them."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, HttpUrl, NonNegativeInt, PositiveInt

from functions._shared.setting_values import private_jwks

PUBLIC_PARTS = ("kty", "crv", "x", "y", "n", "e", "kid", "alg")


@dataclass(frozen=True)
class PrivateKey:
    """A signing key: ``private`` is its JWK."""

    key_id: str
    algorithm: str
    private: dict[str, Any] = field(repr=False)

    @property
    def public(self) -> dict[str, Any]:
        """The JWK for verifiers."""
        parts = {name: self.private[name] for name in PUBLIC_PARTS if name in self.private}
        return {**parts, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]}


def _private_keys(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(
        PrivateKey(str(key["kid"]), algorithm, key) for key, algorithm in private_jwks(value)
    )


class AuthSettings(BaseModel):
    """A part of ``Settings``."""

    site_url: HttpUrl = HttpUrl("http://127.0.0.1:3000")
    """Where links in mails lead back to, unless a request names an allowed ``redirect_to``."""
    jwt_expiry: PositiveInt = 3600
    """Life of an access token in seconds."""
    supabase_signing_keys: Annotated[tuple[PrivateKey, ...], BeforeValidator(_private_keys)] = ()
    """Private JWKs (ES256, RS256): the first signs, all verify; none: ``supabase_jwt_secret`` signs (HS256)."""
    disable_signup: bool = False
    enable_email_signup: bool = True
    """Whether there is an email provider: sign-up and sign-in with an address and a password."""
    enable_email_autoconfirm: bool = False
    """Whether a new address counts as confirmed, without a mail to it."""
    enable_anonymous_users: bool = False
    password_min_length: PositiveInt = 6
    rate_limit_token_refresh: NonNegativeInt = 150
    """Sign-ins and refreshes of one address in 5 minutes; 0 for no limit, here and below."""
    rate_limit_otp: NonNegativeInt = 30
    """Requests of one address in 5 minutes to each endpoint that may send a mail: signup, recover, otp, …"""
    rate_limit_verify: NonNegativeInt = 30
    """Attempts of one address in 5 minutes to verify a one-time token."""
    rate_limit_anonymous_users: NonNegativeInt = 30
    """Anonymous sign-ups of one address in an hour."""
