"""Field types of request bodies: storable text, valid URLs, JavaScript's whole numbers.

Each type states its rule twice: as a validator, and as a pattern in the JSON Schema of the OpenAPI document.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from functions._shared.errors import InvalidRequest
from functions._shared.web.addresses import parse


def storable(text: str) -> str:
    """Refuse text that the database cannot store."""
    # PostgreSQL's text and jsonb store neither NUL nor lone surrogates; JSON can spell both. Built-in functions, no
    # loop: a data URI has a million characters, and is validated once for each prompt of the request.
    try:
        storable = "\x00" not in text and text.encode()
    except UnicodeEncodeError:
        storable = False
    if storable is False:
        raise PydanticCustomError("unstorable", "must not contain NUL or unpaired surrogates")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return text


def _whole(value: Any) -> Any:
    """Accept 1024.0 for 1024: JavaScript has one number type."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_SIDE = r"(?!0+(\.0+)?(:|$))[0-9]{1,4}(\.[0-9]{1,4})?"
_RATIO = re.compile(f"^{_SIDE}:{_SIDE}$")


RATIO_WORDS = ("match_input_image", "auto", "custom")
"""Aspect ratios in words, as models have them: that of the source picture, the model's choice, width and height."""


def _ratio(text: str) -> str:
    if not _RATIO.fullmatch(text) and text not in RATIO_WORDS:
        raise PydanticCustomError("ratio", "must be a ratio such as 16:9")
    return text


def askable(text: str) -> str:
    """Refuse a URL that no client could request: an invalid host (https://xn--/) or port."""
    try:
        parse(text)
    except InvalidRequest as refused:
        why = str(refused).removeprefix("The address").strip()
        raise PydanticCustomError("address", "{why}", {"why": why}) from None
    return text


# JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF and HEIC by the first bytes, in either alphabet of base64.
_BASE64_PICTURE = re.compile(
    r"[/_]9j[/_]|iVBORw0KGgo|UklGR|R0lGOD|SUkqA|TU0AK|Qk[0-3]|AAAADGpQ|AAAA[\w+/-]{2}Z0eX"
)


def picture_address(text: str) -> str:
    """A URL or data URI with its scheme in small letters; base64 of a picture becomes a data URI.

    ``data:,…`` is refused: a text by RFC 2397, and the form of our own references to kept pictures.
    """
    text = text.strip()
    if _BASE64_PICTURE.match(text):
        return f"data:application/octet-stream;base64,{text}"
    scheme, _, rest = text.partition(":")
    text = f"{scheme.lower()}:{rest}"
    if text.startswith(("http://", "https://")):
        return askable(text)
    if not text.startswith("data:") or text.startswith("data:,"):
        raise PydanticCustomError(
            "address", "must be an https:// address, or the picture as a data: URI or in base64"
        )
    return text


def _shown(pattern: str) -> Any:
    """A validator's rule as a pattern in the JSON Schema; pydantic itself does not check it."""
    return Field(json_schema_extra={"pattern": pattern})


FILLED = r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"
"""``_not_blank`` as an ECMA 262 pattern, whose ``\\s`` has fewer characters than Python's: they are listed."""
Text = Annotated[str, AfterValidator(storable), _shown(r"^[^\x00]*$")]
Filled = Annotated[Text, AfterValidator(_not_blank), _shown(FILLED)]
WHOLE = BeforeValidator(_whole)
_HOST = r"https://([A-Za-z0-9_][A-Za-z0-9_-]{0,61}\.){1,8}[A-Za-z][A-Za-z0-9_-]{0,61}"
_HTTPS = _HOST + r"(:[1-9][0-9]{0,3})?([/?#][!-~]*)?"
_BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"

Ratio = Annotated[
    Text,
    AfterValidator(_ratio),
    _shown(rf"^({_RATIO.pattern.strip('^$')}|{'|'.join(RATIO_WORDS)})$"),
]
"""``16:9``, or one of ``RATIO_WORDS``."""
HttpAddress = Annotated[
    Text, Field(pattern=r"^https?://"), AfterValidator(askable), _shown(rf"^{_HTTPS}$")
]
PictureAddress = Annotated[
    Text,
    AfterValidator(picture_address),
    _shown(rf"^({_HTTPS}|data:image/[a-z0-9.+-]+;base64,{_BASE64})$"),
]
"""A URL, or the picture itself: as a data URI, or in base64. The JSON Schema states the two usual forms."""
