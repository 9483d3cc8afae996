"""A new user with an address and no password yet: the row, and its identity of provider email."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from functions._platform.auth.errors import AuthError
from functions._platform.auth.signup import EMAIL_PROVIDER, saving_user
from functions._platform.auth.store.users import Connection, insert_user, is_address_taken
from functions._platform.auth.users import User


async def add_email_user(
    connection: Connection,
    address: str,
    data: Mapping[str, Any],
    *,
    encrypted_password: str | None = None,
    signs_up: bool = False,
) -> User | None:
    """An unconfirmed user; ``data`` is its own metadata. None: the address is taken, if only by an identity.

    ``signs_up``: by itself, not by an administrator; the metadata then has the identity's claims, too.
    """
    if await is_address_taken(connection, address):
        return None
    user_id = uuid4()
    claims = {
        "sub": str(user_id),
        "email": address,
        "email_verified": False,
        "phone_verified": False,
    }
    with saving_user():
        return await insert_user(
            connection,
            user_id=user_id,
            email=address,
            encrypted_password=encrypted_password,
            app_meta_data=EMAIL_PROVIDER,
            user_meta_data={**data, **claims} if signs_up else data,
            identity_data=claims,
        )


def email_exists() -> AuthError:
    return AuthError(
        422, "email_exists", "A user with this email address has already been registered"
    )
