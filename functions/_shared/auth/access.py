"""Database access of a request: the role and the claims that its transaction runs under (row-level security)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request


@dataclass(frozen=True)
class Access:
    """``claims_json``: for the setting ``request.jwt.claims``, which auth.uid() reads."""

    role: str
    claims_json: str


def token_of(request: Request) -> str | None:
    """Supabase's precedence: a bearer token, but the apikey in place of a bearer key (sb_…). None: neither is sent."""
    apikey = request.headers.get("apikey") or None
    if not is_bearer(request):
        return apikey
    token = request.headers["authorization"].partition(" ")[2].strip()
    return apikey if apikey and token.startswith("sb_") else token


def is_bearer(request: Request) -> bool:
    scheme = request.headers.get("authorization", "").partition(" ")[0]
    return scheme.lower() == "bearer"


def is_assumable(role: str) -> bool:
    """Whether the name of a role may be sent to the database, which decides whether it exists and may be assumed.

    ``none`` may not: SET ROLE none is the login role itself (privilege escalation). Nor may text that cannot be sent:
    NUL, lone surrogates.
    """
    return role != "none" and "\0" not in role and role.encode(errors="ignore").decode() == role


def access_with(claims: Mapping[str, Any], role: str) -> Access:
    return Access(role, json.dumps({**claims, "role": role}, separators=(",", ":")))
