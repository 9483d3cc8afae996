"""Who may operate: the setting OPERATOR_KEYS, and the check of a presented key."""

import hmac
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, SecretStr

MIN_SECRET = 16
"""Least characters of an operator's secret: what protects from brute force is its length."""
ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,60})(?P<read>:read)?=(?P<secret>[!-~]+)")
SHAPE = "must be name=secret or name:read=secret, with commas between"


@dataclass(frozen=True)
class Operator:
    """``name`` is what operator_log shows; ``may_write`` False: read-only."""

    name: str
    may_write: bool


@dataclass(frozen=True)
class OperatorKey:
    operator: Operator
    secret: SecretStr


def _operator_keys(value: object) -> object:
    if not isinstance(value, str):
        return value
    keys: dict[str, OperatorKey] = {}
    for entry in filter(None, map(str.strip, value.split(","))):
        parts = ENTRY.fullmatch(entry)
        if parts is None:
            raise ValueError(SHAPE)
        name = parts["name"]
        if len(parts["secret"]) < MIN_SECRET:
            raise ValueError(f"must give {name} a secret of {MIN_SECRET} characters or more")
        if name in keys:
            raise ValueError(f"must name {name} once")
        keys[name] = OperatorKey(Operator(name, not parts["read"]), SecretStr(parts["secret"]))
    secrets = {key.secret.get_secret_value() for key in keys.values()}
    if len(secrets) < len(keys):
        raise ValueError("must give each operator a secret of their own")
    return tuple(keys.values())


class OperateSettings(BaseModel):
    """A part of ``Settings``."""

    operator_keys: Annotated[tuple[OperatorKey, ...], BeforeValidator(_operator_keys)] = ()
    """Operators of /operate and /metrics: ``name=secret``, read-only ``name:read=secret``; none: off."""


def operator_of(settings: OperateSettings, presented: str) -> Operator | None:
    """The operator whose secret is ``presented``; None for any other text."""
    # Constant time: every key is compared, so that timing tells nothing about any of them (timing attack).
    sent = presented.encode(errors="replace")
    equal = [
        key.operator
        for key in settings.operator_keys
        if hmac.compare_digest(key.secret.get_secret_value().encode(), sent)
    ]
    return equal[0] if equal else None
