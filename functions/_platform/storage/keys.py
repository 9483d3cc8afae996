"""Valid names of objects and buckets: upstream's character sets."""

import re
from typing import Annotated

from pydantic import AfterValidator
from starlette.requests import Request

from functions._platform.storage.errors import StorageError, invalid_key

MAX_KEY = 1024
"""S3's limit."""
MAX_BUCKET = 100
KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
"""S3's safe characters, and those it handles specially. No percent sign, no backslash."""
BUCKET = re.compile(r"[A-Za-z0-9_!.*'() &$=@;:+,?-]+")


def checked_key(key: str) -> str:
    """``key``, where an object may have it. Raises StorageError: InvalidKey."""
    segments = key.split("/")
    if (
        len(key) > MAX_KEY
        or not KEY.fullmatch(key)
        or any(part in {"", ".", ".."} for part in segments)
    ):
        raise invalid_key(key)
    return key


def key_of(request: Request) -> str:
    """The path's key. Raises StorageError: InvalidKey."""
    return checked_key(request.path_params["path"])


def bucket_of(request: Request) -> str:
    """The path's bucket. Raises StorageError: InvalidBucketName."""
    return checked_bucket(request.path_params["bucket"])


def checked_bucket(name: str) -> str:
    """Raises StorageError: InvalidBucketName."""
    if len(name) > MAX_BUCKET or not BUCKET.fullmatch(name) or name != name.strip():
        raise StorageError(400, "Invalid Input", "Bucket name invalid", "InvalidBucketName")
    return name


def _storable(text: str) -> str:
    if "\0" in text or text.encode(errors="ignore").decode() != text:
        raise ValueError("must be Unicode text without NUL")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""Text that PostgreSQL and UTF-8 can hold: no NUL, no lone surrogate (JSON can spell both)."""
