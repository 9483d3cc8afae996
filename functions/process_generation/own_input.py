"""The ``input`` of a request against the model's schema: each key must exist, each value be valid."""

import json
from typing import Any

from functions._shared import foreign
from functions._shared.errors import InvalidRequest
from functions._shared.image_models.catalog import ImageModel
from functions._shared.image_models.describe import is_secret
from functions._shared.image_models.json_schema import Schema
from functions._shared.image_models.meaning.pictures import file_keys
from functions._shared.web.own_input import addresses_in, is_address, texts_in

MAX_ADDRESSES = 16
"""Pictures and other files of one request: each is checked, a picture is fetched and perhaps uploaded."""
MAX_NAMED = 12
"""Keys or words of an enumeration that an error lists."""
_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "greater than",
    "exclusiveMaximum": "less than",
    "multipleOf": "a multiple of",
}


def check_own_input(own: dict[str, Any], model: ImageModel) -> None:
    """Raises InvalidRequest, which names the key and the reason, for what the model does not take."""
    pictures = file_keys(model.all_properties)
    addresses = list(addresses_in(own))
    if len(addresses) > MAX_ADDRESSES:
        raise InvalidRequest(f"input: must have at most {MAX_ADDRESSES} addresses")
    for key, address in addresses:
        if key not in pictures and not address.casefold().startswith("http"):
            raise InvalidRequest(
                f"input.{foreign.text(key, 60)}: must be a URL, as it takes no picture"
            )
    for key, value in own.items():
        limits = model.all_properties.get(key)
        if limits is None:
            raise InvalidRequest(f"input.{foreign.text(key, 60)}: {_not_known(model)}")
        if is_secret(key, limits):
            raise InvalidRequest(f"input.{key}: credentials are not taken, as requests are stored")
        if not model.takes(key, value):
            raise InvalidRequest(f"input.{key}: {_fault(limits, value)}")
        if _takes_files(limits) and not all(map(is_address, filter(None, texts_in(value)))):
            raise InvalidRequest(f"input.{key}: must be an http(s) address or a data: URI")


def _takes_files(limits: Schema) -> bool:
    """Whether values are addresses by the schema: others (file:, gopher:, a blank before http:) would go unchecked."""
    item = limits.get("items", limits)
    return isinstance(item, dict) and item.get("format") == "uri"


def _not_known(model: ImageModel) -> str:
    keys = [key for key in model.all_properties if not is_secret(key, model.all_properties[key])]
    listed = ", ".join(foreign.text(key, 60) for key in keys[:MAX_NAMED])
    more = ", …" if len(keys) > MAX_NAMED else ""
    return f"{model.replicate_id} has no such input. It has {listed}{more}"


def _fault(limits: Schema, value: Any) -> str:
    """What is wrong with an invalid ``value``, in words."""
    if "pattern" in limits:
        return "has a pattern in the model's schema, which is never evaluated"
    from jsonschema import Draft202012Validator

    plain = {key: limit for key, limit in limits.items() if key in {"type", "enum", *_LIMITS}}
    for error in Draft202012Validator(plain).iter_errors(value):
        limit: Any = error.validator_value
        if error.validator == "type":
            return f"must be of type {limit if isinstance(limit, str) else ' or '.join(limit)}"
        if error.validator == "enum":
            words = ", ".join(foreign.text(json.dumps(word), 60) for word in limit[:MAX_NAMED])
            return f"must be one of {words}" + (", …" if len(limit) > MAX_NAMED else "")
        return f"must be {_LIMITS[str(error.validator)]} {limit}"
    return "is not valid by the model's schema"
