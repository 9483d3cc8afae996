"""A user as the store reads it, and as clients see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

AUDIENCE = "authenticated"
"""``aud`` of all users: requests cannot choose another (X-JWT-AUD of GoTrue is not read)."""


@dataclass(frozen=True)
class User:
    """A row of auth.users with its identities. Field names are the columns' (without the prefix raw_)."""

    id: UUID
    aud: str | None
    role: str | None
    email: str | None
    encrypted_password: str | None = field(repr=False)
    email_confirmed_at: datetime | None
    invited_at: datetime | None
    phone: str | None
    phone_confirmed_at: datetime | None
    confirmation_sent_at: datetime | None
    confirmed_at: datetime | None
    recovery_sent_at: datetime | None
    email_change: str | None
    """The new address, while a change waits for its confirmation."""
    email_change_sent_at: datetime | None
    email_change_confirm_status: int | None
    reauthentication_sent_at: datetime | None
    last_sign_in_at: datetime | None
    app_meta_data: Mapping[str, Any]
    user_meta_data: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    banned_until: datetime | None
    deleted_at: datetime | None
    is_sso_user: bool
    is_anonymous: bool
    identities: list[dict[str, Any]]
    """In the shape that clients see."""

    @property
    def is_confirmed(self) -> bool:
        return self.email_confirmed_at is not None

    @property
    def is_banned(self) -> bool:
        return self.banned_until is not None and datetime.now(UTC) < self.banned_until


def user_body(user: User) -> dict[str, Any]:
    """The user as clients see it: neither password nor tokens; absent times are left out, as GoTrue does."""
    body = {
        "id": str(user.id),
        "aud": user.aud or "",
        "role": user.role or "",
        "email": user.email or "",
        "email_confirmed_at": timestamp(user.email_confirmed_at),
        "invited_at": timestamp(user.invited_at),
        "phone": user.phone or "",
        "phone_confirmed_at": timestamp(user.phone_confirmed_at),
        "confirmation_sent_at": timestamp(user.confirmation_sent_at),
        "confirmed_at": timestamp(user.confirmed_at),
        "recovery_sent_at": timestamp(user.recovery_sent_at),
        "new_email": user.email_change or None,
        "email_change_sent_at": timestamp(user.email_change_sent_at),
        "reauthentication_sent_at": timestamp(user.reauthentication_sent_at),
        "last_sign_in_at": timestamp(user.last_sign_in_at),
        "app_metadata": user.app_meta_data,
        "user_metadata": user.user_meta_data,
        "identities": user.identities,
        "created_at": timestamp(user.created_at),
        "updated_at": timestamp(user.updated_at),
        "banned_until": timestamp(user.banned_until),
        "deleted_at": timestamp(user.deleted_at),
        "is_anonymous": user.is_anonymous,
    }
    return {key: value for key, value in body.items() if value is not None}


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, as GoTrue writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
