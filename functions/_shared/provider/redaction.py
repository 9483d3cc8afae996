"""Redaction: credentials are cut out of the provider's texts before they reach a log, a row or a user."""

import re

_CREDENTIAL = re.compile(
    r"\b(?P<prefix>r8_|whsec_|sb_secret_)[\w+/=-]{4,}"
    r"|\b(?P<known>gh[pousr]_|github_pat_|xox[abeprs]-|ya29\.|eyJ)[\w.-]{12,}"
    r"|(?P<basic>\bauthorization['\"]?\s{0,3}[=:]\s{0,3}['\"]?basic )[\w+/=]{4,}"
    r"|(?P<user>://[^\s/:@'\"]{0,64}:)[^\s/@'\"]{1,128}(?=@)"
    r"|\b(?P<key>sk-|hf_|AIza|AKIA|Bearer )[\w+/=.~*-]{12,}"
    r"|(?P<name>\b(?:api[_-]?key|access[_-]?token|token|secret|password|signature|sig|hm)['\"]?\s*[=:]\s*['\"]?)"
    r"[\w+/%.~*-]{8,}",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """``text`` without anything that has the form of a key, a token, a password or a signed URL's signature."""
    return _CREDENTIAL.sub(lambda found: f"{found[found.lastgroup or 0]}***", text)
