"""Access tokens (JWTs): ES256 or RS256 by the current signing key, else HS256 by the project's secret."""

from typing import Any

from jose import jwk, jws
from jose.backends.base import Key

from functions._platform.auth.store.sessions import Session
from functions._platform.auth.users import User
from functions._shared.settings import Settings


class AccessTokens:
    """Issues tokens that every verifier of the project accepts: ours, PostgREST's, a function's."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = f"{settings.public_base}/auth/v1"
        self._life_s = settings.jwt_expiry
        self._key, self._algorithm, self._headers = _signer(settings)

    def issue(self, user: User, session: Session, now: int) -> tuple[str, int]:
        """A token and its exp; ``now`` in Unix seconds."""
        expires_at = now + self._life_s
        claims = {
            "iss": self._issuer,
            "sub": str(user.id),
            "aud": user.aud,
            "exp": expires_at,
            "iat": now,
            "email": user.email or "",
            "phone": user.phone or "",
            "app_metadata": user.app_meta_data,
            "user_metadata": user.user_meta_data,
            "role": user.role or "",
            "aal": session.aal,
            "amr": session.amr,
            "session_id": str(session.id),
            "is_anonymous": user.is_anonymous,
        }
        token = jws.sign(claims, self._key, headers=self._headers, algorithm=self._algorithm)
        return token, expires_at


def _signer(settings: Settings) -> tuple[Key, str, dict[str, Any]]:
    """The key that signs, its algorithm, and what the header has besides: the key's id."""
    if settings.supabase_signing_keys:
        current = settings.supabase_signing_keys[0]
        return (
            jwk.construct(current.private, current.algorithm),
            current.algorithm,
            {"kid": current.key_id},
        )
    assert (
        settings.supabase_jwt_secret
    )  # Settings: SERVE names auth only where tokens can be signed
    secret = settings.supabase_jwt_secret.get_secret_value()
    return jwk.construct(secret, "HS256"), "HS256", {}
