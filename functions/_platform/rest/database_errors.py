"""Errors of PostgreSQL and of its client → the HTTP responses that PostgREST makes of them."""

import json
import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from functions._platform.rest import errors
from functions._platform.rest.errors import CONTROL, RestError
from functions._shared.errors import RETRY_AFTER_S

STATUSES: Mapping[str, int] = {
    "08": 503,  # connection exception
    "09": 500,  # triggered action exception
    "0L": 403,  # invalid grantor
    "0P": 403,  # invalid role specification
    "23503": 409,  # foreign_key_violation
    "23505": 409,  # unique_violation
    "25": 500,  # invalid transaction state
    "25006": 405,  # read_only_sql_transaction: a volatile function in a GET
    "28": 403,  # invalid authorization specification
    "2D": 500,  # invalid transaction termination
    "38": 500,  # external routine exception
    "39": 500,  # external routine invocation exception
    "3B": 500,  # savepoint exception
    "40": 500,  # transaction rollback
    "42883": 404,  # undefined_function
    "42P01": 404,  # undefined_table
    "42P17": 500,  # invalid_object_definition: infinite recursion in policies
    "53": 503,  # insufficient resources
    "53400": 500,  # configuration_limit_exceeded
    "54": 500,  # program limit exceeded
    "54011": 400,  # too_many_columns: of the request's select or order list
    "55": 500,  # object not in prerequisite state
    "57": 500,  # operator intervention: statement_timeout
    "57P01": 503,  # admin_shutdown
    "58": 500,  # system error
    "F0": 500,  # configuration file error
    "HV": 500,  # foreign data wrapper error
    "P0": 500,  # PL/pgSQL error
    "P0001": 400,  # raise_exception
    "XX": 500,  # internal error
}
"""SQLSTATE, or its class (the first two characters), → status. The longer entry counts; all others: 400."""
RAISED = "PGRST"
"""SQLSTATE by which a function chooses status, headers and body itself."""
MESSAGE_HINT = (
    "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys:"
    " 'details', 'hint'."
)
DETAIL_HINT = (
    "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key:"
    " 'status_text'."
)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})
"""Headers that delimit the response (RFC 9112): the server's own."""


def from_database(error: psycopg.Error, anonymous: bool) -> RestError:
    """``anonymous``: whether the request came without a token: it may try again with one (401, not 403)."""
    if isinstance(error, PoolTimeout):
        return errors.pool_timeout()
    state = error.sqlstate
    if state is None:
        return _of_client(error)
    diagnosed = error.diag
    message, detail = diagnosed.message_primary or "", diagnosed.message_detail
    if state == RAISED:
        return _raised(message, detail)
    status = _status(state, message, anonymous)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return RestError(status, state, message, detail, diagnosed.message_hint, headers)


def _of_client(error: psycopg.Error) -> RestError:
    """An error that psycopg raised itself: a connection that broke, or a value that has no PostgreSQL form."""
    if isinstance(error, psycopg.DataError):
        return errors.unstorable_text("0x00")
    return errors.connection_lost()


def _status(state: str, message: str, anonymous: bool) -> int:
    if state == "42501":  # insufficient_privilege
        return 401 if anonymous else 403
    if state == "22023":  # invalid_parameter_value: the token's role does not exist
        return 401 if message.startswith("role") and message.endswith("does not exist") else 400
    if (
        state == "21000"
    ):  # cardinality_violation: a client error where the extension safeupdate raises it
        return 400 if message.endswith("requires a WHERE clause") else 500
    if state == "42883" and message.startswith("function xmlagg("):
        return 406
    if state.startswith("PT"):
        return _chosen(state[2:])
    return STATUSES.get(state) or STATUSES.get(state[:2], 400)


def _chosen(digits: str) -> int:
    """The status of RAISE … SQLSTATE 'PTxyz'. 1xx is interim, and none above 599 exists (RFC 9110): both are 500."""
    status = int(digits) if digits.isascii() and digits.isdigit() else 500
    return status if 200 <= status <= 599 else 500


def _raised(message: str, detail: str | None) -> RestError:
    """RAISE SQLSTATE 'PGRST': MESSAGE is the body, DETAIL the status and headers, both JSON. PGRST121 if malformed."""
    body = _object(message)
    if body is None or not _is_body(body):
        return _unreadable(f"Invalid JSON value for MESSAGE: '{message}'", MESSAGE_HINT)
    if detail is None:
        return _unreadable("DETAIL is missing in the RAISE statement", DETAIL_HINT)
    told = _object(detail)
    if told is None or not _is_response(told):
        return _unreadable(f"Invalid JSON value for DETAIL: '{detail}'", DETAIL_HINT)
    headers = {
        name: value.encode(errors="replace").decode("latin-1")
        for name, value in told["headers"].items()
        if name.lower() not in FRAMING
    }
    return RestError(
        int(told["status"]),
        body["code"],
        body["message"],
        body.get("details"),
        body.get("hint"),
        headers,
    )


def _unreadable(details: str, hint: str) -> RestError:
    message = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
    return RestError(500, "PGRST121", message, details, hint)


def _object(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _is_body(body: Mapping[str, Any]) -> bool:
    optional = (body.get("details"), body.get("hint"))
    return (
        isinstance(body.get("code"), str)
        and isinstance(body.get("message"), str)
        and all(text is None or isinstance(text, str) for text in optional)
    )


def _is_response(told: Mapping[str, Any]) -> bool:
    """A usable status, and headers without control characters (response splitting)."""
    status, headers = told.get("status"), told.get("headers")
    return (
        (type(status) is int or (type(status) is float and status.is_integer()))
        and 200 <= status <= 599
        and isinstance(headers, dict)
        and all(
            TOKEN.fullmatch(name) and isinstance(value, str) and not CONTROL.search(value)
            for name, value in headers.items()
        )
    )
