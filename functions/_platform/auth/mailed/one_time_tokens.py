"""One-time tokens: a six-digit code to type and a link to follow, both mailed, of which hashes are stored.

GoTrue's link holds the hash of the code: whoever knows the address tries a million links. Here the link has a secret of
its own, hashed alike; rows of GoTrue, where both hashes are the same, work as well.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

OTP_DIGITS = 6
PKCE = "pkce_"
"""Prefix of a hash whose link gives a code (PKCE) in place of a session."""

Column = Literal[
    "confirmation_token",
    "recovery_token",
    "email_change_token_new",
    "email_change_token_current",
    "reauthentication_token",
]
"""``token_type`` of auth.one_time_tokens (the link's hash), and the column of auth.users with the code's hash."""


@dataclass(frozen=True)
class Token:
    """Both hashes have the PKCE prefix. ``relates_to``: the address that is mailed to."""

    column: Column
    relates_to: str
    otp: str
    code_hash: str
    link_hash: str


def new_token(column: Column, address: str, *, pkce: bool = False) -> Token:
    otp = f"{secrets.randbelow(10**OTP_DIGITS):0{OTP_DIGITS}d}"
    prefix = PKCE if pkce else ""
    link_hash = token_hash(address, secrets.token_urlsafe())
    return Token(column, address, otp, prefix + token_hash(address, otp), prefix + link_hash)


def token_hash(address: str, otp: str) -> str:
    """GoTrue's: SHA-224 in hex."""
    return hashlib.sha224(f"{address}{otp}".encode()).hexdigest()


def matches(stored: str, address: str, otp: str) -> bool:
    """Whether ``stored`` is the hash of ``otp``, with or without the PKCE prefix; in constant time."""
    expected = token_hash(address, otp)
    return hmac.compare_digest(stored.removeprefix(PKCE).encode(), expected.encode())
