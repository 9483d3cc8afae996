"""A request's transaction: role, settings, access mode, isolation, its end, and the function before it."""

import pytest

from tests.functions._platform.rest.conftest import Rest


def test_settings_tell_about_the_request(rest: Rest):
    headers = {"user_agent": "a test/1", "cookie": "flavour=plain; other=1"}
    told = rest.rows("/rpc/whoami", role="authenticated", sub="ann", **headers)
    assert told["role"] == "authenticated"
    assert (told["claims"]["sub"], told["claims"]["role"]) == ("ann", "authenticated")
    assert (told["method"], told["path"]) == ("GET", "/rpc/whoami")
    assert (told["agent"], told["cookie"]) == ("a test/1", "plain")
    assert told["search_path"] == '"api", "public", "extensions"'
    assert rest.rows("/rpc/whoami")["role"] == "anon"


def test_settings_end_with_the_request(rest: Rest):
    """On a pooled connection nothing of a request is left for the next one."""
    for _ in range(20):
        told = rest.rows("/rpc/whoami", role="authenticated", prefer="timezone=Asia/Tokyo")
        assert (told["zone"], told["role"]) == ("Asia/Tokyo", "authenticated")
        told = rest.rows("/rpc/whoami")
        assert (told["role"], told["claims"]) == ("anon", {"role": "anon"})
        assert told["zone"] != "Asia/Tokyo"


def test_session_settings_of_a_function_end_with_the_request(rest: Rest):
    """A pooled connection's next request is another user's: his tenant, and any response's status."""
    before = rest.rows("/rpc/left_behind")
    for _ in range(3):
        assert rest("POST", "/rpc/leave_behind", prefer="tx=commit").status_code == 418
        answer = rest.get("/rpc/left_behind")
        assert (answer.status_code, answer.json()) == (200, before)


def test_access_mode_follows_method_and_volatility(rest: Rest):
    assert rest.rows("/rpc/whoami")["read_only"] == "on"
    assert rest("POST", "/rpc/whoami").json()["read_only"] == "on", "declared stable"
    assert rest("POST", "/rpc/count_up", {"step": 1}).status_code == 200, "volatile"


def test_isolation_of_a_function(rest: Rest):
    assert rest.rows("/rpc/whoami")["isolation"] == "read committed"
    assert rest("POST", "/rpc/strictly").json() == "serializable"


def test_a_token_may_not_name_the_login_role(rest: Rest):
    """PostgreSQL lets each role assume itself."""
    for role in ("rest_login", "postgres", "pg_read_all_data"):
        answer = rest.get("/books", role=role)
        assert (answer.status_code, answer.json()["code"]) == (403, "42501")
        assert answer.json()["message"] == f'permission denied to set role "{role}"'


def test_settings_of_a_role(rest_with, in_library):
    in_library.execute("alter role authenticated set statement_timeout = '40ms'")
    in_library.execute("alter role authenticated set default_transaction_isolation = 'repeatable read'")  # fmt: skip
    try:
        rest = rest_with()
        answer = rest("POST", "/rpc/nap", {"seconds": 5}, role="authenticated")
        assert (answer.status_code, answer.json()["code"]) == (500, "57014")
        assert rest.rows("/rpc/whoami", role="authenticated")["isolation"] == "repeatable read"
        assert rest("POST", "/rpc/nap", {"seconds": 0.1}).status_code == 204, "of another role"
    finally:
        in_library.execute("alter role authenticated reset all")
        in_library.execute("alter role authenticated set statement_timeout = '8s'")


@pytest.mark.parametrize(
    ("setting", "prefer", "kept"),
    [
        ("commit", "", True),
        ("commit", "tx=rollback", True),
        ("commit-allow-override", "tx=rollback", False),
        ("rollback", "tx=commit", False),
        ("rollback-allow-override", "tx=commit", True),
        ("rollback-allow-override", "", False),
    ],
)
def test_how_a_transaction_ends(rest_with, in_library, setting: str, prefer: str, kept: bool):
    rest = rest_with(PGRST_DB_TX_END=setting)
    in_library.execute("delete from api.counters")
    for path, body in [("/counters", {"name": "a", "value": 1}), ("/rpc/count_up", {"step": 1})]:
        answer = rest("POST", path, body, prefer=prefer)
        applied = "preference-applied" in answer.headers
        assert applied == (bool(prefer) and "override" in setting)
    found = in_library.execute("delete from api.counters returning 1").fetchall()
    assert len(found) == (2 if kept else 0)


def test_a_rollback_checks_what_a_commit_would(rest: Rest):
    """Deferred constraints are checked at the end, whichever it is, and nothing of a failure stays."""
    row = {"id": 9, "name": "hall"}
    for prefer in ("tx=rollback", "tx=commit"):
        answer = rest("POST", "/shelves", row, prefer=prefer)
        assert (answer.status_code, answer.json()["code"]) == (409, "23505")
        assert rest.rows("/shelves?id=eq.9") == [], "and the connection serves on"


def test_an_error_leaves_nothing_behind(rest: Rest):
    rows = [{"name": "a", "value": 1}, {"name": "b", "value": "x"}]
    for _ in range(3):
        assert rest("POST", "/counters", rows, prefer="tx=commit").status_code == 400
        assert rest.rows("/counters") == []


def test_a_function_before_every_request(rest_with, in_library):
    in_library.execute(
        """
        create or replace function api.guard() returns void language plpgsql as $$ begin
            if current_setting('request.headers')::json ->> 'x-no' is not null then
                raise sqlstate 'PT402' using message = 'pay first';
            end if;
            perform set_config('response.headers', '[{"X-Guard": "seen"}]', true);
        end $$
        """
    )
    rest = rest_with(PGRST_DB_PRE_REQUEST="api.guard")
    for method, path, body in [("GET", "/books", None), ("POST", "/counters", {"name": "a"})]:
        assert rest(method, path, body).headers["x-guard"] == "seen"
        refused = rest(method, path, body, x_no="1")
        assert (refused.status_code, refused.json()["message"]) == (402, "pay first")


def test_an_unknown_timezone(rest: Rest):
    answer = rest.get("/books", prefer="timezone=Moon/Sea")
    assert (answer.status_code, answer.json()["code"]) == (400, "22023")


def test_server_timing(rest_with):
    rest = rest_with(PGRST_SERVER_TIMING_ENABLED="true")
    phases = rest.get("/books").headers["server-timing"].split(", ")
    assert [phase.partition(";dur=")[0] for phase in phases] == [
        "jwt",
        "parse",
        "plan",
        "transaction",
        "response",
    ]
