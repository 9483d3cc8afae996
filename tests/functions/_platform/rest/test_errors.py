"""Error responses: all four keys, the codes and statuses, and what PostgreSQL's errors become."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import PoolTimeout

from functions._platform.rest import errors
from functions._platform.rest.database_errors import from_database
from functions._platform.rest.errors import RestError
from functions._shared.errors import TooManyRequests

CODES: list[tuple[RestError, int, str]] = [
    (errors.unreachable(), 503, "PGRST000"),
    (errors.connection_lost(), 503, "PGRST001"),
    (errors.no_catalogue(), 503, "PGRST002"),
    (errors.pool_timeout(), 504, "PGRST003"),
    (errors.unparsable("m", "d"), 400, "PGRST100"),
    (errors.method_not_for_rpc("PUT"), 405, "PGRST101"),
    (errors.invalid_body("m"), 400, "PGRST102"),
    (errors.negative_limit(), 416, "PGRST103"),
    (errors.inverted_range(), 416, "PGRST103"),
    (errors.range_out_of_bounds(9, 3), 416, "PGRST103"),
    (errors.invalid_put_filters(), 405, "PGRST105"),
    (errors.schema_not_exposed("x", ["a", "b"]), 406, "PGRST106"),
    (errors.media_type_not_available(["text/x"]), 406, "PGRST107"),
    (errors.not_embedded("x"), 400, "PGRST108"),
    (errors.not_embedded("x", "y"), 400, "PGRST108"),
    (errors.invalid_response_headers(), 500, "PGRST111"),
    (errors.invalid_response_status(), 500, "PGRST112"),
    (errors.put_with_limit(), 400, "PGRST114"),
    (errors.put_key_mismatch(), 400, "PGRST115"),
    (errors.not_single(2), 406, "PGRST116"),
    (errors.unsupported_method("TRACE"), 405, "PGRST117"),
    (errors.related_order_not_to_one("a", "b"), 400, "PGRST118"),
    (errors.invalid_preferences(["x", "y"]), 400, "PGRST122"),
    (errors.aggregates_disabled(), 400, "PGRST123"),
    (errors.max_affected_exceeded(3), 400, "PGRST124"),
    (errors.invalid_path(), 404, "PGRST125"),
    (errors.openapi_disabled(), 404, "PGRST126"),
    (errors.not_implemented("d"), 400, "PGRST127"),
    (errors.max_affected_needs_set(), 400, "PGRST128"),
    (errors.no_relationship("a", "b", "public", None, None), 400, "PGRST200"),
    (errors.ambiguous_relationship("a", "b", [{"embedding": "a with b"}], ["'b!fk'"]), 300, "PGRST201"),
    (errors.no_function("public.f", "(a)", " with parameter a", None), 404, "PGRST202"),
    (errors.ambiguous_function(["public.f(a => int)"]), 300, "PGRST203"),
    (errors.no_column("t", "c"), 400, "PGRST204"),
    (errors.no_table("public", "t", None), 404, "PGRST205"),
    (errors.invalid_token("m"), 401, "PGRST301"),
    (errors.anonymous_disabled(), 401, "PGRST302"),
    (errors.invalid_claims("m"), 401, "PGRST303"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "code"), CODES, ids=lambda value: str(value))
def test_a_code_has_its_status_and_all_four_keys(error: RestError, status: int, code: str):
    response = error.response()
    assert response.status_code == status
    assert response.headers["proxy-status"] == f"PostgREST; error={code}"
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert [*json.loads(response.body)] == ["code", "details", "hint", "message"]
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert ("retry-after" in response.headers) == (status == 503)


def test_texts_hold_what_is_at_fault():
    error = errors.no_relationship("a", "b", "api", "fk", "Perhaps you meant 'c' instead of 'b'.")
    assert json.loads(error.body()) == {
        "code": "PGRST200",
        "details": "Searched for a foreign key relationship between 'a' and 'b' using the hint 'fk'"
        " in the schema 'api', but no matches were found.",
        "hint": "Perhaps you meant 'c' instead of 'b'.",
        "message": "Could not find a relationship between 'a' and 'b' in the schema cache",
    }
    assert errors.schema_not_exposed("x", ["a", "b"]).hint == (
        "Only the following schemas are exposed: a, b"
    )
    assert errors.range_out_of_bounds(9, 3).details == (
        "An offset of 9 was requested, but there are only 3 rows."
    )


def test_a_refused_token_is_challenged():
    error = errors.invalid_token("JWT cryptographic operation failed")
    assert error.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="JWT cryptographic operation failed"'
    )


def test_the_response_to_head_has_the_length_and_no_body():
    whole, head = (errors.not_single(2).response(with_body=body) for body in (True, False))
    assert head.headers["content-length"] == whole.headers["content-length"] != "0"
    assert head.body == b""


def test_an_error_of_all_services_is_put_into_rests_form():
    error = errors.in_rest_form(TooManyRequests("Too many", retry_after_s=7))
    assert (error.status, error.code, error.message) == (429, "RATE_LIMIT_EXCEEDED", "Too many")
    assert error.response().headers["retry-after"] == "7"


@pytest.fixture
def refusal(connect: Callable[..., Any]) -> Callable[..., RestError]:
    """The response to a statement that PostgreSQL refuses."""
    connection = connect()

    def refused(statement: str, anonymous: bool = False) -> RestError:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(statement)
        return from_database(raised.value, anonymous)

    return refused


def raised(state: str, message: str = "m", more: str = "") -> str:
    return f"do $do$ begin raise sqlstate '{state}' using message = $m${message}$m${more}; end $do$"


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("select 1/0", 400, "22012"),
        ("select 'x'::int", 400, "22P02"),
        ("select * from no_table", 404, "42P01"),
        ("select no_function()", 404, "42883"),
        ("select (values (1), (2))", 500, "21000"),
        ("begin read only; create table t ()", 405, "25006"),
        ("select set_config('role', 'nobody', true)", 401, "22023"),
        ("select set_config('work_mem', '0', true)", 400, "22023"),
        ("set statement_timeout = 1; select pg_sleep(9)", 500, "57014"),
        (raised("P0001"), 400, "P0001"),
        (raised("P0002"), 500, "P0002"),
        (raised("23503"), 409, "23503"),
        (raised("23505"), 409, "23505"),
        (raised("23514"), 400, "23514"),
        (raised("21000", "UPDATE requires a WHERE clause"), 400, "21000"),
        (raised("42883", "function xmlagg(x) does not exist"), 406, "42883"),
        (raised("08006"), 503, "08006"),
        (raised("28000"), 403, "28000"),
        (raised("0LP01"), 403, "0LP01"),
        (raised("40001"), 500, "40001"),
        (raised("53300"), 503, "53300"),
        (raised("53400"), 500, "53400"),
        (raised("57P01"), 503, "57P01"),
        (raised("XX000"), 500, "XX000"),
        (raised("PT402"), 402, "PT402"),
        (raised("PT204"), 204, "PT204"),
        (raised("PT100"), 500, "PT100"),
        (raised("PT999"), 500, "PT999"),
        (raised("PTXYZ"), 500, "PTXYZ"),
    ],
)
def test_a_sqlstate_has_its_status(
    refusal: Callable[..., RestError], statement: str, status: int, code: str
):
    error = refusal(statement)
    assert (error.status, error.code) == (status, code)
    assert error.response().status_code == status
    assert ("Retry-After" in error.headers) == (status == 503)


def test_what_the_role_may_not_do_is_401_for_an_anonymous_request(
    refusal: Callable[..., RestError],
):
    known, unknown = (refusal(raised("42501"), anonymous=anonymous) for anonymous in (False, True))
    assert (known.status, dict(known.headers)) == (403, {})
    assert (unknown.status, dict(unknown.headers)) == (401, {"WWW-Authenticate": "Bearer"})


def test_message_detail_and_hint_are_passed_on(refusal: Callable[..., RestError]):
    error = refusal(raised("P0001", "No", ", detail = 'because', hint = 'try'"))
    assert (error.message, error.details, error.hint) == ("No", "because", "try")
    assert refusal(raised("PT204")).response().body == b""


BODY = '{"code":"123","message":"No","details":"D","hint":"H"}'


def test_a_function_chooses_the_whole_response(refusal: Callable[..., RestError]):
    detail = (
        '{"status":418,"status_text":"Teapot","headers":{"X-Tea":"green","Content-Length":"1"}}'
    )
    error = refusal(raised("PGRST", BODY, f", detail = '{detail}'"))
    assert (error.status, error.code, error.message) == (418, "123", "No")
    assert (error.details, error.hint, error.headers) == ("D", "H", {"X-Tea": "green"})
    response = error.response()
    assert response.headers["x-tea"] == "green"
    assert response.headers["content-length"] == str(len(response.body))


@pytest.mark.parametrize(
    ("message", "detail", "details"),
    [
        ("x", "{}", "Invalid JSON value for MESSAGE: 'x'"),
        ("1", "{}", "Invalid JSON value for MESSAGE: '1'"),
        ('{"code":"1"}', "{}", 'Invalid JSON value for MESSAGE: \'{"code":"1"}\''),
        (BODY, None, "DETAIL is missing in the RAISE statement"),
        (BODY, "x", "Invalid JSON value for DETAIL: 'x'"),
        (BODY, '{"status":402}', "Invalid JSON value for DETAIL: '{\"status\":402}'"),
        *(
            (BODY, told, f"Invalid JSON value for DETAIL: '{told}'")
            for told in (
                '{"status":"402","headers":{}}',
                '{"status":true,"headers":{}}',
                '{"status":NaN,"headers":{}}',
                '{"status":99,"headers":{}}',
                '{"status":402,"headers":{"X":1}}',
                '{"status":402,"headers":{"X":"a\\r\\nSet-Cookie: b"}}',
                '{"status":402,"headers":{"X Y":"a"}}',
            )
        ),
    ],
)
def test_a_response_that_is_none_is_refused(
    refusal: Callable[..., RestError], message: str, detail: str | None, details: str
):
    more = "" if detail is None else f", detail = $d${detail}$d$"
    error = refusal(raised("PGRST", message, more))
    assert (error.status, error.code, error.details) == (500, "PGRST121", details)
    assert error.message == "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
    at_fault = "MESSAGE" if "MESSAGE:" in details else "DETAIL"
    assert str(error.hint).startswith(f"{at_fault} must be a JSON object")


def test_errors_of_the_client_itself(connect: Callable[..., Any]):
    connection = connect()
    with pytest.raises(psycopg.DataError) as unsendable:
        connection.execute("select %s::text", ["\0"])
    error = from_database(unsendable.value, anonymous=False)
    assert (error.status, error.code) == (400, "22021")
    with pytest.raises(psycopg.OperationalError) as lost:
        connection.execute("select pg_terminate_backend(pg_backend_pid())")
    assert from_database(lost.value, anonymous=False).status == 503
    broken = psycopg.OperationalError("the connection is lost")
    assert from_database(broken, anonymous=False).code == "PGRST001"
    assert from_database(PoolTimeout("full"), anonymous=False).code == "PGRST003"


def test_a_code_of_a_functions_own_is_no_second_header():
    response = RestError(400, "1\r\nSet-Cookie: é", "m").response()
    assert response.headers.raw[0] == (b"proxy-status", "PostgREST; error=1Set-Cookie: é".encode())


@given(st.text(), st.text())
def test_whatever_a_function_raises_has_a_response(message: str, detail: str):
    class Raised(psycopg.Error):
        class diag:
            message_primary, message_detail, message_hint = message, detail, None

    error = Raised()
    for state in ("PGRST", f"PT{message[:3]}", "P0001"):
        error.sqlstate = state
        assert from_database(error, anonymous=True).response().status_code >= 200
