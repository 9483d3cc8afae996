"""The bound on metadata: an access token carries all of its user's, and verifiers refuse a token that is too long."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from functions._platform.auth.errors import validation_failed
from functions._platform.auth.users import User

MAX_BYTES = 20 * 1024
"""As JSON in ASCII, user_metadata and app_metadata together. Base64 makes 27,307 characters of it: of the 32,768 that a
token may have (``tokens.MAX_CHARACTERS``), the rest is for the other claims."""


def check_metadata(user: User) -> None:
    """Lock-out: with more, no token of the user's would work. Raises AuthError validation_failed."""
    _check(_size(user.app_meta_data) + _size(user.user_meta_data))


def _bounded(data: dict[str, Any]) -> dict[str, Any]:
    _check(_size(data))
    return data


def _check(size: int) -> None:
    if size > MAX_BYTES:
        raise validation_failed(f"The metadata of a user may have {MAX_BYTES} bytes at most")


def _size(data: Mapping[str, Any]) -> int:
    return len(json.dumps(data, separators=(",", ":")))


Metadata = Annotated[dict[str, Any], AfterValidator(_bounded)]
"""A parameter of this type is checked before anything is looked up (account enumeration)."""
