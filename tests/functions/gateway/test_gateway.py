"""The gateway in front of every function: routing, methods, CORS preflights, request ids, bodies, tokens."""

import gzip
import json

import pytest
from jose import jwt

from functions._local.defaults import PUBLISHABLE_KEY, SECRET_KEY, sign_key
from functions._shared.local_keys import LOCAL_JWT_SECRET
from functions.gateway.app import FUNCTIONS
from tests.conftest import Edge, user_token
from tests.help import BODY


@pytest.mark.parametrize("name", ["unknown", "", "unknown/start-generation", "Start-Generation"])
def test_an_unknown_function_is_404(idle_edge: Edge, name):
    answer = idle_edge.post(name, {})
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert answer.json()["error"] == "Requested function was not found"
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "start-generation", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "start-generation", "GET, HEAD, OPTIONS, POST"),
        (
            "POST",
            "start-generation/11111111-1111-4111-8111-111111111111",
            "DELETE, GET, HEAD, OPTIONS",
        ),
        ("GET", "process-generation", "OPTIONS, POST"),
        ("PUT", "generate-image", "OPTIONS, POST"),
        ("TRACE", "process-jobs", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ],
)
def test_other_methods_are_405(idle_edge: Edge, method, path, allowed):
    answer = idle_edge.call(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("name", [*FUNCTIONS, "unknown"])
def test_preflights_need_no_token_and_get_back_what_they_ask_for(idle_edge: Edge, name):
    asked = "apikey,authorization,content-type,x-client-info,x-region"
    answer = idle_edge.call(
        "OPTIONS",
        name,
        None,
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        },
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == asked
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_options_without_an_origin_names_the_originals_headers(idle_edge: Edge):
    answer = idle_edge.call("OPTIONS", "start-generation", None)
    assert (
        answer.headers["access-control-allow-headers"]
        == "authorization, x-client-info, apikey, content-type"
    )


def test_errors_carry_cors_too(idle_edge: Edge, monkeypatch):
    assert (
        idle_edge.post("start-generation", {}, None).headers["access-control-allow-origin"] == "*"
    )

    def bug(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("functions._shared.auth.authenticator.Authenticator.user", bug)
    answer = idle_edge.post("start-generation", BODY)
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "secret detail" not in answer.text


def test_a_request_keeps_its_id_or_gets_one(idle_edge: Edge):
    asked = {"x-request-id": "client-7.a:b"}
    answer = idle_edge.post("start-generation", BODY, headers=asked)
    assert answer.headers["x-request-id"] == answer.headers["sb-request-id"] == "client-7.a:b"
    ids = {idle_edge.post("unknown", {}).headers["sb-request-id"] for _ in range(2)}
    assert len(ids) == 2
    hostile = {"x-request-id": "a b"}
    assert idle_edge.post("unknown", {}, headers=hostile).headers["x-request-id"] != "a b"


def test_log_lines_name_their_request(idle_edge: Edge, monkeypatch, caplog):
    def bug(*_: object) -> None:
        raise RuntimeError("detail")

    monkeypatch.setattr("functions._shared.auth.authenticator.Authenticator.user", bug)
    idle_edge.post("start-generation", BODY, headers={"x-request-id": "the-one"})
    ours = [line for line in caplog.records if line.name == "functions._shared.web.function_app"]
    assert [line.request for line in ours] == [" [the-one]"], "once"


@pytest.mark.parametrize("name", ["unknown", "start-generation"])
def test_browsers_are_kept_from_guessing(idle_edge: Edge, name):
    headers = idle_edge.post(name, BODY).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers.get_list("access-control-allow-origin") == ["*"]


# Bodies


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", None])
@pytest.mark.parametrize("zipped", [False, True])
def test_json_is_read_whatever_it_is_called(idle_edge: Edge, content_type, zipped):
    body = json.dumps(BODY).encode()
    headers = {"Content-Type": content_type} if content_type else {}
    if zipped:
        body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    answer = idle_edge.post("start-generation", None, content=body, headers=headers)
    assert answer.status_code == 200, answer.text


BAD_BODIES = {
    "half a gzip": (gzip.compress(b"{}")[:-4], "gzip", 400, "not whole gzip"),
    "no gzip": (b"{}", "gzip", 400, "not valid gzip"),
    "much in little": (gzip.compress(b" " * 50_000_000), "gzip", 413, "larger than"),
    "more behind it": (gzip.compress(b"{}") + b"x", "gzip", 400, "behind the end of its gzip"),
    "two members": (gzip.compress(b"{") + gzip.compress(b"}"), "gzip", 400, "behind the end"),
    "much in a comment": (
        b"\x1f\x8b\x08\x10\0\0\0\0\0\xff" + b"c" * (1024 * 1024 + 1),
        "gzip",
        413,
        "larger than",
    ),
    "another encoding": (b"{}", "br", 415, "br is not supported"),
    "too much": (b" " * (1024 * 1024 + 1), "identity", 413, "larger than"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_body_that_cannot_be_read_is_refused_in_words(idle_edge: Edge, case):
    body, encoding, status, words = BAD_BODIES[case]
    headers = {"Content-Encoding": encoding}
    for content in (body, (body[start : start + 50_000] for start in range(0, len(body), 50_000))):
        answer = idle_edge.post("start-generation", None, content=content, headers=headers)
        assert answer.status_code == status
        assert words in answer.json()["error"]


@pytest.mark.parametrize("name", ["start-generation", "process-generation", "generate-image"])
@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_an_empty_body_says_that_it_is_empty(idle_edge: Edge, name, headers):
    answer = idle_edge.post(name, None, idle_edge.anon_key, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "The request has no body: Prompt is required; Model ID is required",
    )
    answer = idle_edge.post(name, {}, idle_edge.anon_key)
    assert answer.json()["error"] == "Prompt is required; Model ID is required"


def test_process_jobs_needs_no_body(idle_edge: Edge):
    assert idle_edge.post("process-jobs", None, idle_edge.service_role_key).status_code == 200


def test_a_form_is_refused_by_its_name(idle_edge: Edge):
    answer = idle_edge.post("start-generation", None, data={"prompt": "x"}, files={"f": b"x"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "The body must be JSON, not multipart/form-data"


def test_health(idle_edge: Edge):
    assert idle_edge.client.get(f"{idle_edge.url}/health").json() == {"status": "ok"}


# Tokens


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("rubbish", id="not a token"),
        pytest.param("a.b.c", id="only looks like one"),
        pytest.param(user_token(exp=1), id="expired"),
        pytest.param(user_token(nbf=4102444800), id="not valid yet"),
        pytest.param(
            user_token("another-secret-of-at-least-32-characters"), id="another project's"
        ),
        pytest.param(user_token(sub="not-a-uuid"), id="a subject that is no uuid"),
        pytest.param(user_token(sub=None), id="no subject"),
        pytest.param(user_token(role="superuser"), id="an unknown role"),
        pytest.param(user_token(role=None), id="no role"),
        pytest.param(user_token(padding="x" * 33_000), id="huge"),
        pytest.param("eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.", id="alg none"),
        pytest.param(
            jwt.encode({"role": "anon"}, LOCAL_JWT_SECRET, algorithm="HS512"),
            id="another algorithm",
        ),
        pytest.param("sb_secret_unknown", id="an unknown key"),
    ],
)
@pytest.mark.parametrize("function", ["start-generation", "process-jobs"])
def test_a_bad_token_is_401(idle_edge: Edge, function, token):
    answer = idle_edge.post(function, BODY, token)
    assert answer.status_code == 401
    assert answer.json()["code"].startswith("UNAUTHORIZED_")
    assert answer.json()["error"] == answer.json()["message"] == answer.json()["msg"]


def test_no_token_is_401_in_the_words_clients_know(idle_edge: Edge):
    answer = idle_edge.post("start-generation", BODY, None)
    assert (answer.status_code, answer.json()["error"]) == (401, "No authorization header")


@pytest.mark.parametrize("header", ["Basic dXNlcjpwdw==", "Bearer", "token"])
def test_another_scheme_is_401(idle_edge: Edge, header):
    answer = idle_edge.post("start-generation", BODY, None, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, "Invalid JWT format")


ANON, SERVICE = sign_key(LOCAL_JWT_SECRET, "anon"), sign_key(LOCAL_JWT_SECRET, "service_role")


def test_local_keys_are_the_ones_every_laptop_has():
    assert ANON.startswith(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6ImFub24i"
    )
    assert ANON.endswith(".CRXP1A7WOeoJeXxjNni43kdQwgnWNReilDMblYTn_I0")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Authorization": f"Bearer {ANON}"}, 200, id="anon key"),
        pytest.param({"apikey": ANON}, 200, id="anon key as apikey only"),
        pytest.param({"apikey": PUBLISHABLE_KEY}, 200, id="publishable key"),
        pytest.param(
            {"Authorization": f"Bearer {PUBLISHABLE_KEY}"}, 200, id="publishable key as bearer"
        ),
        pytest.param(
            {"Authorization": f"Bearer {PUBLISHABLE_KEY}", "apikey": PUBLISHABLE_KEY},
            200,
            id="both headers",
        ),
        pytest.param(
            {"Authorization": f"Bearer {user_token()}", "apikey": ANON},
            200,
            id="a user's, with apikey",
        ),
        pytest.param({"Authorization": f"Bearer {SERVICE}"}, 401, id="service role is no user"),
        pytest.param({"apikey": SECRET_KEY}, 401, id="nor is the secret key"),
    ],
)
def test_credentials_are_found_where_clients_put_them(idle_edge: Edge, headers, status):
    answer = idle_edge.post("start-generation", BODY, None, headers=headers)
    assert answer.status_code == status


def test_without_allow_anon_the_anon_key_is_nobody(start_edge):
    edge = start_edge(ALLOW_ANON="false")
    assert edge.post("start-generation", BODY, edge.anon_key).status_code == 401
    for function in ("process-jobs", "process-generation"):
        for token in (edge.anon_key, ""):
            answer = edge.post(function, {}, token)
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert edge.post("process-jobs", {}, edge.service_role_key).status_code == 200


def test_no_verify_jwt_opens_one_function_to_the_cron_line_without_a_token(start_edge):
    edge = start_edge(ALLOW_ANON="false", NO_VERIFY_JWT="process-jobs")
    assert edge.post("process-jobs", {}, None).status_code == 200
    assert edge.post("process-generation", BODY, None).status_code == 401
    assert edge.post("start-generation", BODY, None).status_code == 401
