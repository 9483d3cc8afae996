"""One-time tokens: a six-digit code that is mailed, and its hash, which is stored and stands in the link."""

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
"""``token_type`` of auth.one_time_tokens, and the column of auth.users that holds the same hash."""


@dataclass(frozen=True)
class Token:
    """``hash`` has its PKCE prefix. ``relates_to``: the address that the code is mailed to."""

    column: Column
    relates_to: str
    otp: str
    hash: str


def new_token(column: Column, address: str, *, pkce: bool = False) -> Token:
    otp = f"{secrets.randbelow(10**OTP_DIGITS):0{OTP_DIGITS}d}"
    prefix = PKCE if pkce else ""
    return Token(column, address, otp, prefix + token_hash(address, otp))


def token_hash(address: str, otp: str) -> str:
    """GoTrue's: SHA-224 in hex."""
    return hashlib.sha224(f"{address}{otp}".encode()).hexdigest()


def matches(stored: str, address: str, otp: str) -> bool:
    """Whether ``stored`` is the hash of ``otp``, with or without the PKCE prefix; in constant time."""
    expected = token_hash(address, otp)
    return hmac.compare_digest(stored.removeprefix(PKCE).encode(), expected.encode())
