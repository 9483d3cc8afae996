"""Publicly known default credentials: those of ``supabase start`` on every laptop, and of the self-hosting example.

A public secret lets anybody sign any token: while one of these is in use, only this machine is served
(``LoopbackOnly``).
"""

from jose import jws
from jose.exceptions import JOSEError

LOCAL_JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105 - public: every laptop's
"""The JWT secret of ``supabase start``."""
EXAMPLE_JWT_SECRET = "your-super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105 - public, too
"""The JWT secret of Supabase's docker compose example, which is often left unchanged."""
PUBLISHABLE_KEY = "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"
SECRET_KEY = "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"  # noqa: S105 - public, as the one above

_PUBLIC = frozenset({LOCAL_JWT_SECRET, EXAMPLE_JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY})


def is_well_known(key: str) -> bool:
    """Whether a secret or key is publicly known; a JWT is, if a publicly known secret has signed it."""
    return key in _PUBLIC or any(
        _signed_with(secret, key) for secret in (LOCAL_JWT_SECRET, EXAMPLE_JWT_SECRET)
    )


def _signed_with(secret: str, token: str) -> bool:
    if token.count(".") != 2:
        return False
    try:
        jws.verify(token, secret, ["HS256"])
    except JOSEError:
        return False
    return True
