"""data: URIs (RFC 2397), read leniently: encoders wrap base64, leave out its padding, use its URL-safe alphabet.

The media type is not read: formats are told by the bytes.
"""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from functions._shared.errors import InvalidRequest

_FOREIGN = re.compile(r"[^A-Za-z0-9+/]")
_LINES = {60, 64, 72, 76}
"""Lengths of line that encoders wrap base64 at (PEM, MIME, RFC 2045)."""
_BREAKS = "\n\r\t\f\v"
_URL_SAFE = str.maketrans("-_", "+/")
_NO_BREAKS = str.maketrans("", "", _BREAKS)


def decode_data_uri(uri: str, limit: int) -> bytes:
    """The bytes, 1 to ``limit``. Raises InvalidRequest, naming what is wrong."""
    head, comma, data = uri.partition(",")
    if not comma:
        raise _invalid("has no comma before its data")
    if not head.lower().rstrip().endswith(";base64"):
        decoded = unquote_to_bytes(data) if len(data) <= 3 * limit else b""
        if len(data) > 3 * limit or len(decoded) > limit:
            raise _too_large(limit)
    else:
        # By its length alone, not decoded: the characters that are no data are counted first.
        spare = sum(map(data.count, f"{_BREAKS} ")) + 2 * data.count("%")
        if len(data) - spare > (limit + 2) // 3 * 4:
            raise _too_large(limit)
        decoded = _from_base64(data)
    if not decoded:
        raise _invalid("holds no data")
    if len(decoded) > limit:
        raise _too_large(limit)
    return decoded


def _from_base64(text: str) -> bytes:
    if "%" in text:
        text = unquote_to_bytes(text).decode("latin-1")
    text = text.strip().translate(_NO_BREAKS)
    if " " in text:
        text = text.replace(" ", "" if _is_wrapped(text) else "+")
    text = text.translate(_URL_SAFE).rstrip("=")
    if found := _FOREIGN.search(text):
        raise _invalid(f"is not base64: it has the character {found[0]!r}")
    if len(text) % 4 == 1:
        raise _invalid("is not base64: its last character is missing, or one too many")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise _invalid("is not base64") from None


def _is_wrapped(text: str) -> bool:
    """Whether blanks stand for line breaks. Else they were a + each, which a form or a query decodes to a blank."""
    first, *others = text.split(" ")
    return (
        len(first) in _LINES
        and all(len(line) == len(first) for line in others[:-1])
        and len(others[-1]) <= len(first)
    )


def _invalid(why: str) -> InvalidRequest:
    return InvalidRequest(f"The address: the data URI {why}")


def _too_large(limit: int) -> InvalidRequest:
    return _invalid(f"holds more than {limit // 1024**2} MiB")
