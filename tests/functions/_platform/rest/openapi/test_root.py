"""GET /rest/v1/ over HTTP: the document for the request's role and schema, and the schema cache behind it."""

import pytest

from tests.functions._platform.rest.conftest import Rest
from tests.help import eventually

OPENAPI = "application/openapi+json; charset=utf-8"


@pytest.mark.parametrize("accept", ["*/*", "application/openapi+json", "application/json"])
def test_it_has_its_own_media_type(rest: Rest, accept):
    answer = rest.get("/", accept=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, OPENAPI)
    assert answer.json()["swagger"] == "2.0"
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_head_has_no_body(rest: Rest):
    answer = rest("HEAD", "/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == OPENAPI
    assert "content-length" not in answer.headers


def test_another_media_type_is_not_available(rest: Rest):
    answer = rest.get("/", accept="text/csv")
    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST107")


def test_the_schema_is_the_requests(rest: Rest):
    answers = {schema: rest.get("/", accept_profile=schema) for schema in ("api", "staff")}
    assert {schema: each.headers["content-profile"] for schema, each in answers.items()} == {
        "api": "api",
        "staff": "staff",
    }
    api, staff = (set(each.json()["paths"]) for each in answers.values())
    assert "/books" in api - staff


def test_the_base_is_where_the_request_went(rest: Rest):
    whole = rest.get("/").json()
    assert f"{whole['schemes'][0]}://{whole['host']}{whole['basePath']}" == rest.url


def test_the_base_may_be_set(rest_with):
    rest = rest_with(PGRST_OPENAPI_SERVER_PROXY_URI="https://edge.example/db")
    whole = rest.get("/").json()
    assert (whole["host"], whole["basePath"]) == ("edge.example:443", "/db")


def test_it_can_be_disabled(rest_with):
    answer = rest_with(PGRST_OPENAPI_MODE="disabled").get("/")
    assert (answer.status_code, answer.json()["code"]) == (404, "PGRST126")


def test_a_role_sees_what_it_may_use(rest: Rest, in_library):
    in_library.execute("create table api.hidden (a int)")
    try:
        in_library.execute("grant select on api.hidden to service_role")
        eventually(lambda: "/hidden" in rest.get("/", role="service_role").json()["paths"])
        assert "/hidden" not in rest.get("/").json()["paths"]
    finally:
        in_library.execute("drop table api.hidden")


def test_a_new_table_is_served_without_a_restart(rest: Rest, in_library):
    """Event triggers notify, the schema cache reloads: no NOTIFY by hand."""
    assert rest.get("/arrivals").json()["code"] == "PGRST205"
    in_library.execute("create table api.arrivals (a int); grant select on api.arrivals to anon")
    try:
        eventually(lambda: rest.get("/arrivals").status_code == 200)
    finally:
        in_library.execute("drop table api.arrivals")
    eventually(lambda: rest.get("/arrivals").status_code == 404)
