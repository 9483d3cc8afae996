"""An operator's session: a signed cookie, which no server keeps; and the CSRF token that belongs to it.

The signing key is derived (HKDF) from the project's secret and the operator's own entry of OPERATOR_KEYS: a key that is
replaced, or whose rights change, ends the sessions it has opened.
"""

import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jose import jwt
from jose.exceptions import JOSEError

from functions._shared.auth.authenticator import MIN_KEY_CHARACTERS
from functions._shared.operate_settings import Operator
from functions._shared.settings import Settings

LIFE_S = 12 * 3600
AUDIENCE = "operate"
MAX_COOKIE = 2048
"""Characters: a longer cookie is none of ours, and is not parsed."""
MAX_NAME = 100


@dataclass(frozen=True)
class Session:
    """``csrf``: what each form of the session carries. ``by_key``: opened with a key, not with a user's token."""

    operator: Operator
    by_key: bool
    id: str
    expires_at: int


class Sessions:
    """Opens, reads and signs: all by ``settings``, nothing is stored."""

    def __init__(self, settings: Settings) -> None:
        self._secret = (
            settings.supabase_jwt_secret or settings.supabase_service_role_key
        ).get_secret_value()
        # A key's session is signed with that key as well; a token's with this secret alone, which may be a placeholder.
        self.take_tokens = len(self._secret) >= MIN_KEY_CHARACTERS
        """Whether a user's token may open a session: its cookie could be forged otherwise."""
        self._entries = {
            key.operator: key.secret.get_secret_value() for key in settings.operator_keys
        }

    def open(self, operator: Operator, *, by_key: bool, until: float | None = None) -> Session:
        """A session of 12 hours, or ``until`` (Unix time) where that is sooner."""
        ends = time.time() + LIFE_S
        return Session(operator, by_key, secrets.token_urlsafe(12), int(min(ends, until or ends)))

    def cookie(self, session: Session) -> str:
        claims = {
            "aud": AUDIENCE,
            "sub": session.operator.name,
            "write": session.operator.may_write,
            "key": session.by_key,
            "jti": session.id,
            "exp": session.expires_at,
        }
        return jwt.encode(claims, self._key(session.operator, session.by_key, "session"), "HS256")

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None where it is forged, over, or its key is no more."""
        if len(cookie) > MAX_COOKIE:
            return None
        try:
            told = jwt.get_unverified_claims(cookie)
            session = Session(
                Operator(str(told["sub"]), told["write"] is True),
                told["key"] is True,
                str(told["jti"]),
                int(told["exp"]),
            )
            if not (session.operator in self._entries if session.by_key else self.take_tokens):
                return None
            key = self._key(session.operator, session.by_key, "session")
            jwt.decode(cookie, key, algorithms=["HS256"], audience=AUDIENCE)
        except (JOSEError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            return None
        return session

    def csrf(self, session: Session) -> str:
        return self._signature(session, "csrf", session.id)

    def is_csrf(self, session: Session, presented: str) -> bool:
        return hmac.compare_digest(self.csrf(session).encode(), presented.encode(errors="replace"))

    def sealed(self, session: Session, message: dict[str, Any]) -> str:
        """A short message for the next page of the session (POST-redirect-GET), signed."""
        text = json.dumps(message)
        return jwt.encode(
            {"aud": "said", "jti": session.id, "said": text},
            self._key(session.operator, session.by_key, "said"),
            "HS256",
        )

    def unsealed(self, session: Session, cookie: str) -> dict[str, Any]:
        """The message; {} for anything that this session has not sealed."""
        key = self._key(session.operator, session.by_key, "said")
        try:
            told = jwt.decode(cookie, key, algorithms=["HS256"], audience="said")
            message = json.loads(told["said"]) if told["jti"] == session.id else {}
        except (JOSEError, KeyError, TypeError, ValueError, RecursionError):
            return {}
        return message if isinstance(message, dict) else {}

    def _signature(self, session: Session, purpose: str, text: str) -> str:
        key = self._key(session.operator, session.by_key, purpose)
        return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()

    def _key(self, operator: Operator, by_key: bool, purpose: str) -> str:
        entry = self._entries[operator] if by_key else ""
        info = json.dumps(["operate", purpose, operator.name, operator.may_write, entry])
        derived = HKDF(SHA256(), 32, salt=None, info=info.encode())
        return derived.derive(self._secret.encode()).hex()
