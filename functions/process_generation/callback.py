"""The callback address of a prediction: made for its create, read again from the provider's list and its calls."""

from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from functions._shared.settings import Settings
from functions.process_generation.predictions import Intent

WEBHOOK_PATH = "/functions/v1/process-generation/webhook"


def callback_address(settings: Settings, intent: Intent) -> str | None:
    """Where the provider calls at the end, with the intent's own secret; None where it cannot reach this edge."""
    base = settings.callback_base
    if base is None:
        return None
    query = urlencode({"prediction": str(intent.id), "secret": intent.callback_secret})
    return f"{base}{WEBHOOK_PATH}?{query}"


def intent_in(address: str | None) -> str | None:
    """The intent that a prediction's callback address names; None without one, and for another service's address."""
    try:
        parts = urlsplit(address or "")
    except ValueError:  # brackets without an IPv6 address in them
        return None
    if not parts.path.endswith(WEBHOOK_PATH):
        return None
    return next(iter(parse_qs(parts.query).get("prediction", ())), None)


def intent_and_secret(query: Mapping[str, str]) -> tuple[UUID, str] | None:
    """The intent and the secret in the query of a call; None where it names no intent."""
    try:
        return UUID(query.get("prediction", "")), query.get("secret", "")
    except ValueError:
        return None
