"""Mail addresses: validation with GoTrue's rule and texts."""

import re

from functions._platform.auth.errors import validation_failed

MAX_BYTES = 255
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
"""The HTML standard's valid e-mail address, which browsers check as well: no quotes, no letters beyond ASCII. Its dots
are RFC 5322's (dot-atom): GoTrue takes a..b, and has an error of the server's when it mails to it.
"""


def valid_address(text: str) -> str:
    """The address in lower case. Raises AuthError validation_failed."""
    if not text:
        raise validation_failed("An email address is required")
    if len(text.encode()) > MAX_BYTES:
        raise validation_failed("An email address is too long")
    if not ADDRESS.fullmatch(text):
        raise validation_failed("Unable to validate email address: invalid format")
    return text.lower()
