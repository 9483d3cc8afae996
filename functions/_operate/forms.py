"""The form of a POST, bounded: application/x-www-form-urlencoded, as a plain HTML form without files sends it."""

from urllib.parse import parse_qs

from starlette.requests import Request

from functions._shared import foreign
from functions._shared.errors import InvalidRequest, UnsupportedMediaType
from functions._shared.web.bodies import read_raw

MAX_BYTES = 64 * 1024
MAX_FIELDS = 200


class Form:
    """Fields by name; all values of one name, as checkboxes send them."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def get(self, name: str, otherwise: str = "") -> str:
        return self._fields.get(name, [otherwise])[0]

    def all(self, name: str) -> list[str]:
        return self._fields.get(name, [])


async def read_form(request: Request) -> Form:
    """Raises InvalidRequest, UnsupportedMediaType, PayloadTooLarge, RequestTimeout."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("The body must be application/x-www-form-urlencoded")
    raw = await read_raw(request, MAX_BYTES)
    try:
        fields = parse_qs(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidRequest(f"The body must be a form of at most {MAX_FIELDS} fields") from None
    return Form({name: [foreign.text(one) for one in values] for name, values in fields.items()})
