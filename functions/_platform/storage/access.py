"""Authentication of /storage/v1: a request's credentials → the role and the claims that its transactions run under."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.requests import Request

from functions._platform.storage.context import storage_of
from functions._platform.storage.errors import StorageError, denied
from functions._shared.auth.access import Access, access_with, is_assumable, token_of
from functions._shared.auth.tokens import within_validity
from functions._shared.errors import Unauthorized
from functions._shared.resources import resources_of

SERVICE = access_with({}, "service_role")
"""Upstream's superuser: bypasses row-level security."""
WHY: Mapping[str, str] = {
    "UNAUTHORIZED_JWT_EXPIRED": '"exp" claim timestamp check failed',
    "UNAUTHORIZED_JWT_NOT_YET_VALID": '"nbf" claim timestamp check failed',
    "UNAUTHORIZED_LEGACY_JWT": "signature verification failed",
    "UNAUTHORIZED_ASYMMETRIC_JWT": "signature verification failed",
    "UNAUTHORIZED_INVALID_JWT_FORMAT": "Invalid Compact JWS",
}
"""Our error codes → upstream's words."""


async def access_of(request: Request) -> Access:
    """Raises StorageError: 400 without credentials, 403 for invalid ones; FunctionError: throttled, no keys yet."""
    token = token_of(request)
    if not token:
        message = "headers must have required property 'authorization'"
        raise StorageError(400, "Error", message, "InvalidRequest")
    try:
        access = await resources_of(request).auth.accept(
            request, token, _of_claims, lambda role: access_with({}, role)
        )
    except Unauthorized as error:
        raise denied(WHY.get(error.code, str(error))) from None
    if access.role == storage_of(request).login:
        # Privilege escalation: PostgreSQL lets each role assume itself, and the login role may assume all others.
        raise denied(f'permission denied to set role "{access.role}"')
    return access


async def access_or_none(request: Request) -> Access | None:
    """None without valid credentials: upstream's allowInvalidJwt, for routes that serve public buckets too."""
    if not token_of(request):
        return None
    try:
        return await access_of(request)
    except StorageError:
        return None


def _of_claims(claims: Mapping[str, Any]) -> Access:
    role = within_validity(claims).get("role", "anon")
    if not isinstance(role, str) or not is_assumable(role):
        raise denied("Invalid role")
    return access_with(claims, role)


def subject_of(access: Access) -> str | None:
    """``sub``: the owner_id of what the caller makes."""
    subject = json.loads(access.claims_json).get("sub")
    return subject if isinstance(subject, str) and "\0" not in subject else None


def owner_uuid(subject: str | None) -> UUID | None:
    try:
        return UUID(subject) if subject else None
    except ValueError:
        return None
