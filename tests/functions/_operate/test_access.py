"""Who gets in, and what nobody can do who is not: sessions, rights, CSRF, forged cookies, open redirects."""

import time
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from jose import jwt
from starlette.routing import Route

from functions._operate.app import routes
from functions._operate.sessions import Sessions
from functions._shared.local_keys import LOCAL_JWT_SECRET
from functions._shared.operate_settings import Operator
from functions._shared.settings import Settings
from tests.conftest import Database, Edge, user_token
from tests.functions._operate.operators import ADA, KEYS, csrf_of, job_id, post

OPEN = {"/operate/sign-in", "/operate/static/{name}"}
COOKIE = "picture_edge_operator"


def paths(method: str) -> list[str]:
    """Each path that only operators may use, with an id of no job in it."""
    named = [route for route in routes if isinstance(route, Route) and route.path not in OPEN]
    return [
        route.path.replace("{id}", job_id(1)).replace("{name}", "work")
        for route in named
        if method in (route.methods or ())
    ]


def get(edge: Edge, path: str, **options: object) -> httpx.Response:
    return edge.client.get(f"{edge.url}{path}", **options)  # type: ignore[arg-type]


def sign_in(edge: Edge, key: str, **fields: str) -> httpx.Response:
    with httpx.Client() as client:
        return client.post(f"{edge.url}/operate/sign-in", data={"key": key, **fields})


def test_without_keys_nothing_is_there_but_the_sign_in(idle_edge: Edge):
    for path in paths("GET"):
        assert get(idle_edge, path).status_code == 404, path
    for path in paths("POST"):
        assert idle_edge.client.post(f"{idle_edge.url}{path}").status_code == 404, path
    assert sign_in(idle_edge, ADA).status_code == 401
    assert sign_in(idle_edge, "").status_code == 401


def test_an_operators_token_opens_it_where_no_keys_are_named(idle_edge: Edge):
    plain = user_token(app_metadata={"role": "editor"})
    assert sign_in(idle_edge, plain).status_code == 403
    assert sign_in(idle_edge, user_token(user_metadata={"role": "operator"})).status_code == 403
    assert (
        sign_in(idle_edge, user_token("x" * 40, app_metadata={"role": "operator"})).status_code
        == 401
    )
    assert sign_in(idle_edge, idle_edge.service_role_key).status_code == 401
    token = user_token(
        app_metadata={"role": "operator"}, email="<b>o@example.com", exp=int(time.time()) + 900
    )
    answer = sign_in(idle_edge, token)
    assert answer.status_code == 303
    session = answer.cookies[COOKIE]
    assert jwt.get_unverified_claims(session)["exp"] <= time.time() + 901
    page = get(idle_edge, "/operate", headers={"Cookie": f"{COOKIE}={session}"})
    assert page.status_code == 200
    assert "&lt;b&gt;o@example.com" in page.text


def test_a_users_token_without_end_or_address_is_an_operator_with_a_name(
    idle_edge: Edge, db: Database
):
    user = str(uuid4())
    token = user_token(sub=user, app_metadata={"role": "operator"}, email="", exp=None)
    without_exp = jwt.encode(
        {name: value for name, value in jwt.get_unverified_claims(token).items() if name != "exp"},
        LOCAL_JWT_SECRET,
        algorithm="HS256",
    )
    with httpx.Client(base_url=idle_edge.url) as client:
        assert client.post("/operate/sign-in", data={"key": without_exp}).status_code == 303
        assert user in client.get("/operate").text
        assert post(client, "/pause", type="generate-image").status_code == 200
    assert db.execute("select operator from operator_log").fetchone() == {"operator": user}


def test_a_placeholder_of_a_key_signs_no_session_of_a_token(environ: dict[str, str]):
    keys = {
        "SUPABASE_JWKS_URL": "https://example.com/jwks",
        "SUPABASE_URL": "https://example.com",
        "SUPABASE_DB_URL": environ["SUPABASE_DB_URL"],
    }
    placeholder = Sessions(Settings.from_env({**keys, "SUPABASE_SERVICE_ROLE_KEY": "unused"}))
    forged = placeholder.cookie(placeholder.open(Operator("eve", True), by_key=False))
    assert not placeholder.take_tokens
    assert placeholder.read(forged) is None
    secret = Sessions(Settings.from_env({**keys, "SUPABASE_SERVICE_ROLE_KEY": "s" * 40}))
    session = secret.open(Operator("eve", True), by_key=False)
    assert secret.read(secret.cookie(session)) == session


def test_without_a_session_pages_lead_to_the_sign_in_and_actions_are_refused(operate: Edge):
    for path in paths("GET"):
        answer = get(operate, path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/operate/sign-in"), path
    for path in paths("POST"):
        assert operate.client.post(f"{operate.url}{path}").status_code == 401, path


def test_the_way_back_is_kept_and_leads_nowhere_else(operate: Edge):
    asked = get(operate, "/operate/jobs?status=failed&type=a%26b")
    form = get(operate, asked.headers["location"])
    assert 'value="/jobs?status=failed&amp;type=a%26b"' in form.text
    back = sign_in(operate, ADA, next="/jobs?status=failed&type=a%26b")
    assert back.headers["location"] == "/operate/jobs?status=failed&type=a%26b"
    for evil in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "@evil.example",
    ):
        location = sign_in(operate, ADA, next=evil).headers["location"]
        assert location == "/operate", evil


def test_the_cookie_is_of_this_page_alone(operate: Edge):
    cookie = sign_in(operate, ADA).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "Path=/operate;" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    with httpx.Client(headers={"X-Forwarded-Proto": "https"}) as client:
        behind_tls = client.post(f"{operate.url}/operate/sign-in", data={"key": ADA})
    assert "Secure" in behind_tls.headers["set-cookie"]


def test_a_read_only_operator_sees_no_buttons_and_is_refused(
    seeded: Edge, bob: httpx.Client, db: Database
):
    for path in (
        "",
        "/generations",
        f"/jobs/{job_id(3)}",
        f"/jobs/{job_id(12)}",
        "/jobs?status=failed",
    ):
        page = bob.get(f"/operate{path}").text
        assert page.count('method="post"') == 1, path  # to sign out
        assert "checkbox" not in page
    for path in paths("POST"):
        if path != "/operate/sign-out":
            answer = bob.post(path, data={"csrf": csrf_of(bob)})
            assert answer.status_code == 403, path
            assert "read-only" in answer.text
    assert db.execute("select count(*) from operator_log").fetchone() == {"count": 0}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_foreign_page_changes_nothing(
    seeded: Edge, ada: httpx.Client, db: Database, headers: dict[str, str]
):
    answer = ada.post(
        f"/operate/jobs/{job_id(3)}/cancel", data={"csrf": csrf_of(ada)}, headers=headers
    )
    assert answer.status_code == 403
    assert sign_in_from(seeded, headers) == 403
    assert db.execute("select status from job_queue where id = %s", [job_id(3)]).fetchone() == {
        "status": "pending"
    }


def sign_in_from(edge: Edge, headers: dict[str, str]) -> int:
    return httpx.post(f"{edge.url}/operate/sign-in", data={"key": ADA}, headers=headers).status_code


def test_a_foreign_page_reads_nothing_but_may_link_here(ada: httpx.Client):
    framed = {
        "Sec-Fetch-Site": "same-site",
        "Sec-Fetch-Mode": "cors",
        "Origin": "http://app.localhost",
    }
    assert ada.get("/operate", headers=framed).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ada.get("/operate", headers=link).status_code == 200


def test_a_form_needs_the_token_of_its_own_session(
    seeded: Edge, ada: httpx.Client, bob: httpx.Client, db: Database
):
    for csrf in ("", "0" * 64, csrf_of(bob), "é"):
        answer = ada.post(f"/operate/jobs/{job_id(3)}/cancel", data={"csrf": csrf})
        assert answer.status_code == 403
    assert post(ada, f"/jobs/{job_id(3)}/cancel").status_code == 200
    assert db.execute("select status from job_queue where id = %s", [job_id(3)]).fetchone() == {
        "status": "cancelled"
    }


def test_forged_cookies_are_none(operate: Edge, ada: httpx.Client, environ: dict[str, str]):
    mine = ada.cookies[COOKIE]
    claims = jwt.get_unverified_claims(mine)
    header, _, signature = mine.split(".")
    changed = jwt.encode({**claims, "write": False}, "x", algorithm="HS256").split(".")[1]
    forged = [
        jwt.encode(claims, LOCAL_JWT_SECRET, algorithm="HS256"),
        jwt.encode({**claims, "key": False}, LOCAL_JWT_SECRET, algorithm="HS256"),
        f"{header}.{changed}.{signature}",
        f"eyJhbGciOiJub25lIn0.{mine.split('.')[1]}.",
        mine[:-2],
        "x" * 5000,
        "..",
        "e30.e30.e30",
        ada.get("/operate/sign-in").headers.get("set-cookie", ""),
    ]
    for cookie in forged:
        answer = get(operate, "/operate", headers={"Cookie": f"{COOKIE}={cookie}"})
        assert answer.status_code == 303, cookie[:80]


def test_a_session_ends_with_its_time_and_with_its_key(
    start_edge: Callable[..., Edge], environ: dict[str, str]
):
    from functions._local.defaults import local_environment

    def settings(keys: str) -> Settings:
        return Settings.from_env(local_environment({**environ, "OPERATOR_KEYS": keys}))

    sessions = Sessions(settings(KEYS))
    ada = Operator("ada", True)
    session = sessions.open(ada, by_key=True)
    cookie = sessions.cookie(session)
    assert sessions.read(cookie) == session
    assert Sessions(settings("ada=another-0123456789abcdef")).read(cookie) is None
    assert Sessions(settings(f"ada:read={ADA}")).read(cookie) is None
    assert Sessions(settings(f"eve={ADA}")).read(cookie) is None
    over = sessions.open(ada, by_key=True, until=time.time() - 1)
    assert sessions.read(sessions.cookie(over)) is None


def test_attempts_to_sign_in_are_limited(operate: Edge):
    statuses = [sign_in(operate, f"wrong-{number}").status_code for number in range(12)]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    refused = sign_in(operate, ADA)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0


def test_every_answer_forbids_all_that_is_inline_or_from_elsewhere(seeded: Edge, ada: httpx.Client):
    for path in ("", "/jobs", "/generations", "/sign-in", "/jobs/nothing"):
        answer = ada.get(f"/operate{path}")
        policy = answer.headers["content-security-policy"]
        assert (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy
        )
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_the_public_keys_serve_this_machine_only(operate: Edge):
    answer = get(operate, "/operate/sign-in", headers={"Host": "operate.example.com"})
    assert answer.status_code == 403
    assert "SUPABASE_JWT_SECRET" in answer.text


def test_sign_out_ends_it_in_this_browser(ada: httpx.Client):
    answer = ada.post("/operate/sign-out", data={"csrf": csrf_of(ada)})
    assert answer.status_code == 303
    assert ada.get("/operate").status_code == 303
