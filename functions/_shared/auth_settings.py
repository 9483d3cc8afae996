"""The settings of /auth/v1, under the names that Supabase's self-hosting (its docker .env) gives them."""

from pydantic import BaseModel, HttpUrl, PositiveInt


class AuthSettings(BaseModel):
    """A part of ``Settings``."""

    site_url: HttpUrl = HttpUrl("http://127.0.0.1:3000")
    """Where links in mails lead back to, unless a request names an allowed ``redirect_to``."""
    jwt_expiry: PositiveInt = 3600
    """Life of an access token in seconds."""
