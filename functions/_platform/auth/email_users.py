"""A new user with an address: the row, its identity of provider email, and what an app's own triggers make of it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg

from functions._platform.auth.errors import AuthError
from functions._platform.auth.store.users import Connection, insert_user, is_address_taken
from functions._platform.auth.users import User
from functions._shared.database.sqlstates import is_down

log = logging.getLogger(__name__)

EMAIL_PROVIDER = {"provider": "email", "providers": ["email"]}
"""``app_metadata`` of a new user."""


async def add_email_user(
    connection: Connection,
    address: str,
    data: Mapping[str, Any],
    *,
    encrypted_password: str | None = None,
    signs_up: bool = False,
) -> User | None:
    """An unconfirmed user; ``data`` is its own metadata. None: the address is taken, if only by an identity.

    ``signs_up``: by itself, not by an administrator; identity and metadata then have both, the claims and ``data``.
    """
    if await is_address_taken(connection, address):
        return None
    user_id = uuid4()
    claims = email_claims(user_id, address)
    both = {**data, **claims}
    with saving_user():
        return await insert_user(
            connection,
            user_id=user_id,
            email=address,
            encrypted_password=encrypted_password,
            app_meta_data=EMAIL_PROVIDER,
            user_meta_data=both if signs_up else data,
            identity_data=both if signs_up else claims,
        )


def email_claims(user_id: UUID, address: str) -> dict[str, Any]:
    """What the provider email says of a new user."""
    return {
        "sub": str(user_id),
        "email": address,
        "email_verified": False,
        "phone_verified": False,
    }


def email_exists() -> AuthError:
    return AuthError(
        422, "email_exists", "A user with this email address has already been registered"
    )


@contextmanager
def saving_user(what: str = "saving new user") -> Iterator[None]:
    """An error of an app's own trigger or constraint becomes AuthError 500, as in GoTrue; the log has its SQLSTATE."""
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise
    except psycopg.Error as error:
        if is_down(error):
            raise
        log.error("database error %s: SQLSTATE %s", what, error.sqlstate)
        raise AuthError(500, "unexpected_failure", f"Database error {what}") from None
