"""Authentication of /rest/v1: a request's credentials → the role and the claims that its transaction runs under."""

from dataclasses import dataclass

from starlette.requests import Request


@dataclass(frozen=True)
class Access:
    """``claims_json``: for ``request.jwt.claims``. ``is_anonymous``: no token was sent; 42501 is then 401, not 403."""

    role: str
    claims_json: str
    is_anonymous: bool


async def access_of(request: Request) -> Access:
    """Raises RestError: PGRST300 to PGRST303, 429 once the address is throttled, 503 while keys cannot be fetched."""
    raise NotImplementedError
