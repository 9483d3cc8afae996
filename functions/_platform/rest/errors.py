"""Error responses of /rest/v1: PostgREST's codes, statuses and texts (PGRSTxxx), and those of PostgreSQL (SQLSTATE)."""

import json
import re
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from functions._shared.errors import RETRY_AFTER_S, FunctionError

JSON_TYPE = "application/json; charset=utf-8"
BODILESS = frozenset({204, 205, 304})
"""Statuses whose responses carry no content (RFC 9110); a function may raise them as PT204."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NO_HEADERS: Mapping[str, str] = {}


class RestError(Exception):
    """One error response. ``details``: a text, for PGRST201 a list of objects. ``headers``: besides the common ones."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: str | Sequence[Mapping[str, str]] | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.hint = hint
        self.headers = headers

    def body(self) -> bytes:
        """JSON with all four keys, alphabetically, as upstream's encoder orders them."""
        body = {
            "code": self.code,
            "details": self.details,
            "hint": self.hint,
            "message": self.message,
        }
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

    def response(self, *, with_body: bool = True) -> Response:
        """``with_body`` False: the response to HEAD."""
        headers = {"Proxy-Status": f"PostgREST; error={_in_header(self.code)}", **self.headers}
        if self.status in BODILESS:
            return Response(status_code=self.status, headers=headers)
        body = self.body()
        headers["Content-Length"] = str(len(body))
        return Response(body if with_body else b"", self.status, headers, JSON_TYPE)


def _in_header(code: str) -> str:
    """A code that a function raised may be any text: no control characters (response splitting), in UTF-8's bytes."""
    return CONTROL.sub("", code).encode(errors="replace").decode("latin-1")


def in_rest_form(error: FunctionError) -> RestError:
    """An error of what all services share: too large a body, too many failed attempts, keys that cannot be fetched."""
    return RestError(error.status, error.code, str(error), headers=error.headers)


# Connection errors: PGRST0xx


def unreachable() -> RestError:
    """No connection to the database."""
    return _unavailable("PGRST000", "Database connection error.")


def connection_lost() -> RestError:
    """Outcome unknown: the connection broke while the statement ran."""
    return _unavailable("PGRST001", "Database client error. Retrying the connection.")


def no_catalogue() -> RestError:
    return _unavailable("PGRST002", "Could not query the database for the schema cache. Retrying.")


def pool_timeout() -> RestError:
    return RestError(504, "PGRST003", "Timed out acquiring connection from connection pool.")


def _unavailable(code: str, message: str) -> RestError:
    return RestError(503, code, message, headers={"Retry-After": str(RETRY_AFTER_S)})


# Errors of the request: PGRST1xx


def unparsable(message: str, details: str) -> RestError:
    return RestError(400, "PGRST100", message, details)


def unstorable_text(code: str) -> RestError:
    """NUL, or bytes that are no UTF-8, in PostgreSQL's words; ``code``: the bytes, such as 0x00."""
    return RestError(400, "22021", f'invalid byte sequence for encoding "UTF8": {code}')


def method_not_for_rpc(method: str) -> RestError:
    return RestError(405, "PGRST101", f"Cannot use the {method} method on RPC")


def invalid_body(message: str) -> RestError:
    return RestError(400, "PGRST102", message)


def negative_limit() -> RestError:
    return _range("Limit should be greater than or equal to zero.")


def answer_too_large(most_bytes: int) -> RestError:
    """No error of upstream's, so the code is PostgreSQL's program_limit_exceeded."""
    hint = "Ask for fewer rows (limit) or fewer columns (select)."
    return RestError(400, "54000", f"The answer is larger than {most_bytes >> 20} MiB", None, hint)


def inverted_range() -> RestError:
    return _range(
        "The lower boundary must be lower than or equal to the upper boundary in the Range header."
    )


def range_out_of_bounds(offset: int, total: int) -> RestError:
    return _range(f"An offset of {offset} was requested, but there are only {total} rows.")


def _range(details: str) -> RestError:
    return RestError(416, "PGRST103", "Requested range not satisfiable", details)


def invalid_put_filters() -> RestError:
    return RestError(
        405,
        "PGRST105",
        "Filters must include all and only primary key columns with 'eq' operators",
    )


def schema_not_exposed(schema: str, exposed: Sequence[str]) -> RestError:
    hint = f"Only the following schemas are exposed: {', '.join(exposed)}"
    return RestError(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)


def media_type_not_available(asked: Sequence[str]) -> RestError:
    return RestError(
        406, "PGRST107", f"None of these media types are available: {', '.join(asked)}"
    )


def not_embedded(name: str, alias: str | None = None) -> RestError:
    """``alias``: the one that the embed ``name`` has, by which alone it may be referred to."""
    message = f"'{name}' is not an embedded resource in this request"
    if alias is None:
        hint = f"Verify that '{name}' is included in the 'select' query parameter."
        return RestError(400, "PGRST108", message, hint=hint)
    details = "Target names are not allowed in filters if they have an alias"
    hint = f"Change '{name}' to '{alias}' in filters, orders or limits."
    return RestError(400, "PGRST108", message, details, hint)


def invalid_response_headers() -> RestError:
    return RestError(
        500,
        "PGRST111",
        "response.headers guc must be a JSON array composed of objects with a single key and a string value",
    )


def invalid_response_status() -> RestError:
    return RestError(500, "PGRST112", "response.status guc must be a valid status code")


def put_with_limit() -> RestError:
    return RestError(400, "PGRST114", "limit/offset querystring parameters are not allowed for PUT")


def put_key_mismatch() -> RestError:
    return RestError(400, "PGRST115", "Payload values do not match URL in primary key column(s)")


def not_single(rows: int) -> RestError:
    return RestError(
        406,
        "PGRST116",
        "Cannot coerce the result to a single JSON object",
        f"The result contains {rows} rows",
    )


def unsupported_method(method: str) -> RestError:
    return RestError(405, "PGRST117", f"Unsupported HTTP method: {method}")


def related_order_not_to_one(origin: str, target: str) -> RestError:
    return RestError(
        400,
        "PGRST118",
        f"A related order on '{target}' is not possible",
        f"'{origin}' and '{target}' do not form a many-to-one or one-to-one relationship",
    )


def invalid_preferences(invalid: Sequence[str]) -> RestError:
    return RestError(
        400,
        "PGRST122",
        "Invalid preferences given with handling=strict",
        f"Invalid preferences: {', '.join(invalid)}",
    )


def aggregates_disabled() -> RestError:
    return RestError(400, "PGRST123", "Use of aggregate functions is not allowed")


def max_affected_exceeded(rows: int) -> RestError:
    return RestError(
        400,
        "PGRST124",
        "Query result exceeds max-affected preference constraint",
        f"The query affects {rows} rows",
    )


def invalid_path() -> RestError:
    return RestError(404, "PGRST125", "Invalid path specified in request URL")


def openapi_disabled() -> RestError:
    return RestError(404, "PGRST126", "Root endpoint metadata is disabled")


def not_implemented(details: str) -> RestError:
    return RestError(400, "PGRST127", "Feature not implemented", details)


def max_affected_needs_set() -> RestError:
    return RestError(
        400,
        "PGRST128",
        "Function must return SETOF or TABLE when max-affected preference is used with handling=strict",
    )


# Errors of the schema cache: PGRST2xx


def no_relationship(
    parent: str, child: str, schema: str, embed_hint: str | None, suggestion: str | None
) -> RestError:
    """``embed_hint``: of ``child!hint``. ``suggestion`` becomes the error's hint."""
    using = "" if embed_hint is None else f" using the hint '{embed_hint}'"
    return RestError(
        400,
        "PGRST200",
        f"Could not find a relationship between '{parent}' and '{child}' in the schema cache",
        f"Searched for a foreign key relationship between '{parent}' and '{child}'{using}"
        f" in the schema '{schema}', but no matches were found.",
        suggestion,
    )


def ambiguous_relationship(
    parent: str, child: str, candidates: Sequence[Mapping[str, str]], hints: Sequence[str]
) -> RestError:
    """``candidates``: embedding, cardinality and relationship of each. ``hints``: each as ``'child!constraint'``."""
    return RestError(
        300,
        "PGRST201",
        f"Could not embed because more than one relationship was found for '{parent}' and '{child}'",
        candidates,
        f"Try changing '{child}' to one of the following: {', '.join(hints)}."
        " Find the desired relationship in the 'details' key.",
    )


def no_function(function: str, searched: str, details: str, suggestion: str | None) -> RestError:
    """``function``: schema-qualified. ``searched``: `` without parameters``, ``(a, b)`` or nothing, behind its name.

    ``details``: what stands between the function's name and ``, but no matches were found``.
    """
    return RestError(
        404,
        "PGRST202",
        f"Could not find the function {function}{searched} in the schema cache",
        f"Searched for the function {function}{details}, but no matches were found in the schema cache.",
        suggestion,
    )


def ambiguous_function(candidates: Sequence[str]) -> RestError:
    """``candidates``: each as ``schema.name(parameter => type, …)``."""
    return RestError(
        300,
        "PGRST203",
        f"Could not choose the best candidate function between: {', '.join(candidates)}",
        hint="Try renaming the parameters or the function itself in the database so function overloading can be"
        " resolved",
    )


def no_column(relation: str, column: str) -> RestError:
    return RestError(
        400,
        "PGRST204",
        f"Could not find the '{column}' column of '{relation}' in the schema cache",
    )


def no_table(schema: str, table: str, suggestion: str | None) -> RestError:
    return RestError(
        404,
        "PGRST205",
        f"Could not find the table '{schema}.{table}' in the schema cache",
        hint=suggestion,
    )


# Errors of authentication: PGRST3xx


def invalid_token(message: str, details: str | None = None) -> RestError:
    return _challenge("PGRST301", message, details)


def anonymous_disabled() -> RestError:
    return RestError(
        401,
        "PGRST302",
        "Anonymous access is disabled",
        headers={"WWW-Authenticate": "Bearer"},
    )


def unknown_role(role: str) -> RestError:
    """As PostgreSQL refuses it."""
    message = f'role "{role}" does not exist'
    return RestError(401, "22023", message, headers={"WWW-Authenticate": "Bearer"})


def may_not_assume(role: str) -> RestError:
    """As PostgreSQL refuses it to a token."""
    return RestError(403, "42501", f'permission denied to set role "{role}"')


def invalid_claims(message: str) -> RestError:
    return _challenge("PGRST303", message)


def _challenge(code: str, message: str, details: str | None = None) -> RestError:
    described = json.dumps(message, ensure_ascii=False)
    challenge = f'Bearer error="invalid_token", error_description={described}'
    return RestError(401, code, message, details, headers={"WWW-Authenticate": challenge})
