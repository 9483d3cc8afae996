"""PKCE (RFC 7636): the challenge that a client sends with a request, and proves by ``grant_type=pkce``."""

import re
from dataclasses import dataclass
from typing import Literal

from functions._platform.auth.errors import validation_failed

CHALLENGE = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class Challenge:
    """``method`` as auth.code_challenge_method has it."""

    method: Literal["s256", "plain"]
    value: str


def challenge_of(method: str, value: str) -> Challenge | None:
    """The request's ``code_challenge_method`` and ``code_challenge``; None where both are "". Raises AuthError."""
    if not method and not value:
        return None
    if not method or not value:
        raise validation_failed("PKCE flow requires code_challenge_method and code_challenge")
    if not 43 <= len(value) <= 128:
        raise validation_failed("code challenge has to be between 43 and 128 characters")
    if not CHALLENGE.fullmatch(value):
        raise validation_failed(
            "code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes"
        )
    lower = method.lower()
    if lower == "s256":
        return Challenge("s256", value)
    if lower == "plain":
        return Challenge("plain", value)
    raise validation_failed(f"unsupported code_challenge method {method[:20]!r}")
