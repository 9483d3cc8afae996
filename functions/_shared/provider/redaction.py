"""Redaction: credentials are cut out of the provider's texts before they reach a log, a row or a user."""

import re

_CREDENTIAL = re.compile(
    r"\b(?P<prefix>r8_|whsec_)[\w+/=-]{4,}"
    r"|\b(?P<key>sk-|hf_|AIza|AKIA|Bearer )[\w+/=.~*-]{12,}"
    r"|(?P<name>\b(?:api[_-]?key|access[_-]?token|token|secret|password|signature|sig|hm)['\"]?\s*[=:]\s*['\"]?)"
    r"[\w+/%.~*-]{8,}",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """``text`` without anything that has the form of a key, a token, a secret or a signed URL's signature."""
    return _CREDENTIAL.sub(
        lambda found: f"{found['prefix'] or found['key'] or found['name']}***", text
    )
