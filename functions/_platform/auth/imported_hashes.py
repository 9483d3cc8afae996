"""Password hashes of imported users, in the formats that GoTrue takes besides bcrypt: Argon2 and Firebase's scrypt.

Argon2    $argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>                    base64 without padding
Firebase  $fbscrypt$v=1,n=14,r=8,p=1,ss=<separator>,sk=<signer key>$<salt>$<hash>   base64; n is the cost's exponent
"""

import base64
import binascii
import hashlib
import hmac
import re

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2i, Argon2id

ARGON2 = re.compile(
    r"\$(?P<kind>argon2id?)\$v=19\$m=(?P<m>\d{1,7}),t=(?P<t>\d{1,2}),p=(?P<p>\d{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<hash>[A-Za-z0-9+/]+)"
)
SCRYPT = re.compile(
    r"\$fbscrypt\$v=1,n=(?P<n>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2}),ss=(?P<separator>[A-Za-z0-9+/=]*)"
    r",sk=(?P<key>[A-Za-z0-9+/=]+)\$(?P<salt>[A-Za-z0-9+/=]+)\$(?P<hash>[A-Za-z0-9+/=]+)"
)
MAX_KIB, MAX_PASSES, MAX_LANES = 1024 * 1024, 20, 16
"""GoTrue's bounds of Argon2's parameters: a hash must not use up the machine (denial of service)."""
MAX_SCRYPT_BYTES = 256 * 1024 * 1024
KEY_BYTES = 32
"""Of the AES-256 key that Firebase derives."""


def is_importable(text: str) -> bool:
    """Whether ``text`` is such a hash, with parameters within the bounds."""
    if found := ARGON2.fullmatch(text):
        memory, passes, lanes = (int(found[name]) for name in "mtp")
        fits = (
            8 * lanes <= memory <= MAX_KIB and 1 <= passes <= MAX_PASSES and 1 <= lanes <= MAX_LANES
        )
        return fits and len(_decoded(found["salt"])) >= 8 and len(_decoded(found["hash"])) >= 4
    if found := SCRYPT.fullmatch(text):
        n, r, p = (int(found[name]) for name in "nrp")
        return 1 <= n <= 24 and r >= 1 and p >= 1 and _scrypt_bytes(n, r, p) <= MAX_SCRYPT_BYTES
    return False


def matches_imported(password: str, hashed: str) -> bool:
    """Whether an importable hash is of ``password``, compared in constant time."""
    if found := ARGON2.fullmatch(hashed):
        return _matches_argon2(password.encode(), found)
    found = SCRYPT.fullmatch(hashed)
    return found is not None and _matches_scrypt(password.encode(), found)


def _matches_argon2(password: bytes, found: re.Match[str]) -> bool:
    expected = _decoded(found["hash"])
    kind = Argon2id if found["kind"] == "argon2id" else Argon2i
    derived = kind(
        salt=_decoded(found["salt"]),
        length=len(expected),
        iterations=int(found["t"]),
        lanes=int(found["p"]),
        memory_cost=int(found["m"]),
    ).derive(password)
    return hmac.compare_digest(derived, expected)


def _matches_scrypt(password: bytes, found: re.Match[str]) -> bool:
    """Firebase encrypts its signer key with the derived key: AES-256-CTR from a zero counter."""
    n, r, p = (int(found[name]) for name in "nrp")
    key = hashlib.scrypt(
        password,
        salt=_decoded(found["salt"]) + _decoded(found["separator"]),
        n=2**n,
        r=r,
        p=p,
        maxmem=_scrypt_bytes(n, r, p) + 2**20,
        dklen=KEY_BYTES,
    )
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    encrypted = encryptor.update(_decoded(found["key"])) + encryptor.finalize()
    return hmac.compare_digest(encrypted, _decoded(found["hash"]))


def _scrypt_bytes(n: int, r: int, p: int) -> int:
    return 128 * r * ((1 << n) + p + 2)


def _decoded(text: str) -> bytes:
    """Base64, padded or not; b"" for what is none."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""
