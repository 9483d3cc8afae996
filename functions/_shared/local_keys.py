"""The keys that everybody knows: those of ``supabase start`` on every laptop, and of the self-hosting example.

Whoever knows a secret can sign any token: while one of these is in use only this machine is served (``LoopbackOnly``).
"""

from jose import jws
from jose.exceptions import JOSEError

LOCAL_JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105 - public: every laptop's
"""Supabase's own local secret."""
EXAMPLE_JWT_SECRET = "your-super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105 - public, too
"""The one of its docker compose example, which people leave as it is."""
PUBLISHABLE_KEY = "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"
SECRET_KEY = "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"  # noqa: S105 - public, as the one above

_PUBLIC = frozenset({LOCAL_JWT_SECRET, EXAMPLE_JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY})


def is_well_known(key: str) -> bool:
    """Whether a secret or key is a public one; a JWT is, where a public secret has signed it."""
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
