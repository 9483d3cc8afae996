"""The stand-in for pg_net: functions/_local/clock/net.sql, sender.py."""

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from scripts.postgres import free_port
from scripts.schema import apply_schema
from scripts.stack import bound, serving
from tests.help import LIMIT_S, eventually, until


@dataclass
class Server:
    """Keeps what it is sent; /wait answers once ``release`` is set; /302 redirects so, to the query's address."""

    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.seen.append(
            {
                "method": request.method,
                "path": request.url.path,
                "query": request.url.query,
                "headers": request.headers.raw,
                "body": body.decode(),
            }
        )
        match request.url.path:
            case "/wait":
                await asyncio.to_thread(self.release.wait)
            case "/moved":
                return RedirectResponse("/there", 302, {"X-First": "1"})
            case "/301" | "/302" | "/303" | "/307" | "/308" as path:
                return RedirectResponse(request.url.query or "/there", int(path[1:]))
            case "/loop":
                return RedirectResponse("/loop", 302)
            case "/cookie":
                return Response("x", headers={"Set-Cookie": "session=1"})
            case "/latin":
                return Response(b"caf\xe9", media_type="text/plain; charset=utf-8")
            case "/empty":
                return Response(status_code=500)
        return Response('{"ok": true}', media_type="application/json")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    app = Starlette(
        routes=[Route("/{path:path}", server.answer, methods=["GET", "POST", "DELETE"])]
    )
    with bound("127.0.0.1", free_port(), "test") as listener, serving(app, listener):
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield server
        server.release.set()


def response(db, request_id):
    answer = "select * from net._http_response where id = %s"
    return eventually(lambda: db.execute(answer, (request_id,)).fetchone())


def call(db, function, *arguments, **named):
    marks = ", ".join(["%s"] * len(arguments) + [f"{name} := %s" for name in named])
    return db.execute(
        f"select net.{function}({marks}) as id", (*arguments, *named.values())
    ).fetchone()["id"]


def test_a_post_is_sent_as_pg_net_sends_it(clock, db, server):
    request_id = call(
        db, "http_post", f"{server.url}/x?a=1", '{"b": 1, "a": [2]}',
        params='{"q": "a b&ü", "none": null}', headers='{"X-Key": "k", "Nothing": null, "Empty": ""}',
    )  # fmt: skip
    row = response(db, request_id)
    assert (row["status_code"], row["content"], row["timed_out"], row["error_msg"]) == (
        200, '{"ok": true}', False, None,
    )  # fmt: skip
    assert row["content_type"] == "application/json"
    [seen] = server.seen
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/x", "a=1&q=a%20b%26%C3%BC")
    assert seen["body"] == '{"a": [2], "b": 1}'
    headers = dict(seen["headers"])
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-key"] == b"k"
    assert headers[b"user-agent"] == b"pg_net/0.20.4"
    assert headers[b"accept"] == b"*/*"
    assert not {b"nothing", b"empty", b"accept-encoding"} & set(headers)


def sent(server: Server) -> list[tuple[str, str]]:
    """What the last request's headers were, in their order and as often as they came."""
    return [(name.decode(), value.decode()) for name, value in server.seen[-1]["headers"]]


def values(server: Server, wanted: str) -> list[str]:
    return [value for name, value in sent(server) if name == wanted]


@pytest.mark.parametrize(
    ("headers", "accept"),
    [
        ('{"X-Key": "k"}', ["*/*"]),
        ('{"accept": "text/plain"}', ["text/plain"]),
        ('{"Accept": ""}', []),
        ('{"Accept": null}', ["*/*"]),
        (None, ["*/*"]),
    ],
)
def test_one_accept_header_is_sent(clock, db, server, headers, accept):
    response(db, call(db, "http_get", server.url, headers=headers))
    assert values(server, "accept") == accept


def test_header_values_are_the_text_of_their_json(clock, db, server):
    given = '{"A": 1.50, "B": true, "C": {"d": [1, null]}, "D": " padded ", "E": "ü", "User-Agent": "own"}'
    response(db, call(db, "http_get", server.url, headers=given))
    assert [pair for pair in sent(server) if pair[0] in ("a", "b", "c", "d", "e")] == [
        ("a", "1.50"), ("b", "true"), ("c", '{"d": [1, null]}'), ("d", "padded"), ("e", "ü"),
    ]  # fmt: skip
    assert values(server, "user-agent") == ["own", "pg_net/0.20.4"]


def test_the_length_of_the_body_is_not_the_callers_to_say(clock, db, server):
    """Request smuggling: libcurl sends both headers as they are given."""
    for given in ('{"Content-Length": "1"}', '{"Transfer-Encoding": "chunked"}'):
        response(db, call(db, "http_post", f"{server.url}/307", '{"a": 1}', headers=given))
        assert (values(server, "content-length"), server.seen[-1]["body"]) == (["8"], '{"a": 1}')


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("function", "named", "kind"),
    [
        ("http_post", {}, ["application/json"]),
        ("http_post", {"headers": '{"X-Key": "k"}'}, ["application/json"]),
        ("http_post", {"headers": '{"Content-Type": null}'}, ["application/json"]),
        ("http_post", {"headers": None}, [FORM]),
        ("http_post", {"headers": None, "body": None}, [FORM]),
        ("http_delete", {}, []),
        ("http_delete", {"body": '{"a": 1}'}, [FORM]),
        ("http_delete", {"body": '{"a": 1}', "headers": '{"Content-Type": "text/x"}'}, ["text/x"]),
        ("http_delete", {"body": '{"a": 1}', "headers": '{"content-type": ""}'}, []),
        ("http_get", {}, []),
    ],
)
def test_the_content_type_is_libcurls(clock, db, server, function, named, kind):
    response(db, call(db, function, server.url, **named))
    assert values(server, "content-type") == kind


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("function", ["http_post", "http_delete"])
def test_the_method_after_a_redirect_is_libcurls(clock, db, server, function, status):
    """curl 7.88 sends the same: POST becomes GET, DELETE stays, and the body goes with 301, 302 and 303."""
    response(db, call(db, function, f"{server.url}/{status}", body='{"a": 1}'))
    last = server.seen[-1]
    keeps = status in (307, 308)
    method = "DELETE" if function == "http_delete" else "POST" if keeps else "GET"
    assert (last["path"], last["method"]) == ("/there", method)
    assert last["body"] == ('{"a": 1}' if keeps else "")
    kind = ["application/json"] if function == "http_post" else [FORM] if keeps else []
    assert values(server, "content-type") == kind
    assert values(server, "content-length") == (["8"] if keeps else [])


def test_credentials_stay_with_the_origin_that_they_were_given_for(clock, db, server):
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    given = '{"Authorization": "Bearer k", "Cookie": "c=1", "apikey": "k"}'
    for start, to, kept in [
        (server.url, "/there", True),
        (server.url, f"{server.url}/there", True),
        (server.url, f"{elsewhere}/there", False),
        (server.url, f"{elsewhere}/302?{server.url}/there", True),  # back at the first
    ]:
        response(db, call(db, "http_get", f"{start}/302?{to}", headers=given))
        found = (values(server, "authorization"), values(server, "cookie"))
        assert found == ((["Bearer k"], ["c=1"]) if kept else ([], [])), to
        assert values(server, "apikey") == ["k"]
    named = server.url.replace("http://", "http://u:p@")
    for to, basic in [("/x", ["Basic dTpw"]), (f"{server.url}/x", ["Basic dTpw"]), (elsewhere, [])]:
        response(db, call(db, "http_get", f"{named}/302?{to}"))
        assert values(server, "authorization") == basic, to


def test_a_loop_of_redirects_ends(clock, db, server):
    row = response(db, call(db, "http_get", f"{server.url}/loop"))
    assert row["error_msg"] == "Number of redirects hit maximum amount"
    assert len(server.seen) == 31, "the first and 30 more, as libcurl from 8.3 on"


def test_no_request_carries_the_cookies_of_another(clock, db, server):
    for path in ("/cookie", "/there"):
        response(db, call(db, "http_get", server.url + path))
    assert values(server, "cookie") == []


class Cased(BaseHTTPRequestHandler):
    """uvicorn writes header names in small letters, http.server as they are given."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        for name, value in [
            ("Content-Type", "text/x"),
            ("X-One", "1"),
            ("X-One", "2"),
            ("x-two", "é"),
        ]:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_the_names_of_answered_headers_are_kept_as_sent(clock, db):
    with HTTPServer(("127.0.0.1", 0), Cased) as http:
        http.timeout = LIMIT_S
        request_id = call(db, "http_get", f"http://127.0.0.1:{http.server_port}/")
        http.handle_request()
        row = response(db, request_id)
    assert row["headers"] == {
        "Content-Type": "text/x", "X-One": "2", "x-two": "é", "Content-Length": "0",
    }  # fmt: skip
    assert row["content_type"] == "text/x"


@pytest.mark.parametrize("headers", ["[]", '"x"', "null"])
def test_headers_that_are_no_object_stop_nothing(clock, db, server, headers):
    """A poison message: an error of the dequeueing statement would end the clock, and come again with the next."""
    assert response(db, call(db, "http_get", server.url, headers=headers))["status_code"] == 200


@pytest.mark.parametrize("value", ["Bearer secret\\n", "x\\r\\nX-Other: secret"])
def test_a_header_that_would_add_lines_is_refused(clock, db, server, value):
    """Header injection: pg_net sends it. The error's text reaches logs (clock_records), so the value is not in it."""
    row = response(db, call(db, "http_get", server.url, headers=f'{{"Authorization": "{value}"}}'))
    assert row["error_msg"] == "Illegal request header"
    assert server.seen == []


def test_get_and_delete(clock, db, server):
    response(db, call(db, "http_get", server.url))
    response(db, call(db, "http_delete", f"{server.url}/y"))
    assert [(seen["method"], seen["path"], seen["body"]) for seen in server.seen] == [
        ("GET", "/", ""), ("DELETE", "/y", ""),
    ]  # fmt: skip


def test_nothing_is_sent_before_commit_and_nothing_after_rollback(clock, db, connect, server):
    theirs = connect(autocommit=False)
    call(theirs, "http_get", f"{server.url}/rolled-back")
    theirs.rollback()
    first = call(theirs, "http_get", f"{server.url}/committed")
    second = call(db, "http_get", f"{server.url}/other")
    response(db, second)
    assert [seen["path"] for seen in server.seen] == ["/other"]
    theirs.commit()
    response(db, first)
    assert [seen["path"] for seen in server.seen] == ["/other", "/committed"]


def test_a_slow_answer_holds_no_other_up(clock, db, server):
    slow = call(db, "http_get", f"{server.url}/wait")
    assert response(db, call(db, "http_get", server.url))["status_code"] == 200
    assert db.execute("select * from net._http_response where id = %s", (slow,)).fetchone() is None
    server.release.set()
    assert response(db, slow)["status_code"] == 200


@pytest.mark.parametrize(
    ("path", "limit_ms", "expected"),
    [
        ("/wait", 50, {"timed_out": True, "status_code": None, "error_msg": "Timeout of 50 ms reached"}),
        ("/wait", 0, {"timed_out": False, "error_msg": "timeout_milliseconds must be between 1 and 600000"}),
        ("/empty", 5000, {"status_code": 500, "content": None}),
        ("/latin", 5000, {"content": "caf\ufffd"}),
        ("/moved", 5000, {"status_code": 200, "content": '{"ok": true}'}),
    ],
)  # fmt: skip
def test_what_is_kept(clock, db, server, path, limit_ms, expected):
    row = response(db, call(db, "http_get", server.url + path, timeout_milliseconds=limit_ms))
    for name, value in expected.items():
        assert str(row[name]).startswith(str(value)), (name, row)
    if path == "/moved":
        assert row["headers"]["x-first"] == "1", "the first answer's headers"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"http://127.0.0.1:{free_port()}/", "Couldn't connect to server"),
        ("http://no-such-host.invalid/", "Couldn't resolve host name"),
        ("ftp://127.0.0.1/", "Unsupported protocol"),
    ],
    ids=["nobody listens", "no such host", "no http"],
)
def test_what_cannot_be_reached(clock, db, url, error):
    assert response(db, call(db, "http_get", url))["error_msg"] == error


def test_the_default_time_out_is_five_seconds(clock, db):
    defaults = db.execute(
        "select pg_get_function_arguments(oid) as it from pg_proc where pronamespace = 'net'::regnamespace"
        " and proname in ('http_get', 'http_post', 'http_delete')"
    ).fetchall()
    assert all("timeout_milliseconds integer DEFAULT 5000" in row["it"] for row in defaults)
    assert db.execute(
        "select proargnames from pg_proc where oid = 'net.http_post'::regproc"
    ).fetchone() == {"proargnames": ["url", "body", "params", "headers", "timeout_milliseconds"]}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("example.com",), "Bad scheme"),
        (("",), "Bad scheme"),
        (("gopher://x/",), "Unsupported URL scheme"),
        (("http://h/a b",), "Bad path"),
        ((None,), 'null value in column "url"'),
        (("http://h", "{}", "{}", '{"Content-Type": "text/plain"}'), "Content-Type header must be"),
    ],
)
def test_what_is_refused_at_once(clock, db, arguments, text):
    with pytest.raises(psycopg.Error, match=text):
        call(db, "http_post", *arguments)


def test_collecting_an_answer(clock, db, server):
    collect = "select (net._http_collect_response(%s, async := %s)).*"
    request_id = call(db, "http_get", server.url)
    found = db.execute(collect, (request_id, False)).fetchone()
    assert (found["status"], found["message"]) == ("SUCCESS", "ok")
    assert db.execute(collect, (999, True)).fetchone()["status"] == "ERROR"
    assert db.execute("select (net.http_collect_response(%s)).status", (request_id,)).fetchone()


def test_the_worker_functions(clock, db, server):
    db.execute("select net.check_worker_is_up(), net.wait_until_running(), net.wake()")
    assert db.execute("select net.worker_restart() as done").fetchone() == {"done": True}
    assert response(db, call(db, "http_get", server.url))["status_code"] == 200


def test_a_setting_is_read_at_a_restart(clock, db):
    db.execute(f"alter database {db.info.dbname} set pg_net.ttl = '1 minute'")
    db.execute("select net.worker_restart()")
    db.execute(
        "insert into net._http_response (id, created) values (7, now() - interval '2 minutes')"
    )
    until(db, "select count(*) from net._http_response where id = 7", 0)


def test_old_answers_go(clock, db):
    db.execute(
        "insert into net._http_response (id, created) values (7, now() - interval '7 hours')"
    )
    db.execute("select net.wake()")
    until(db, "select count(*) from net._http_response where id = 7", 0)


def test_headers_are_not_for_everyone(clock, db, server):
    db.execute("grant usage on schema net to authenticated")
    db.execute("set role authenticated")
    request_id = call(db, "http_post", server.url, headers='{"Authorization": "Bearer secret"}')
    for table in ("net.http_request_queue", "net._http_response"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(f"select * from {table}")
    db.execute("reset role")
    assert response(db, request_id)["status_code"] == 200


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr("functions._local.clock.clock.RETRY_S", 0.05)


def test_a_lost_connection_is_made_again(quick_retries, clock, db, dsn):
    db.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where application_name like 'pg_net %' and datname = current_database()"
    )
    with closing(psycopg.connect(dsn, autocommit=True)) as other:
        other.execute("select net.wait_until_running()")  # it comes back by itself


REAL = """
create schema net;
create table net.http_request_queue (
    id bigserial, method text not null, url text not null, headers jsonb, body bytea, timeout_milliseconds int not null
);
create table net._http_response (id bigint, created timestamptz);
"""


@pytest.fixture
def pg_net(db, dsn) -> Iterator[Callable[[str], list[str]]]:
    """Puts a pg_net with the real one's tables on the server and applies sql/; returns the notices."""
    with tempfile.TemporaryDirectory(prefix="picture-edge-") as folder:
        files = Path(folder) / "extension"
        files.mkdir()
        (files / "pg_net.control").write_text("default_version = '1'\nrelocatable = false\n")
        (files / "pg_net--1.sql").write_text(REAL)
        Path(folder).chmod(0o755)  # the server is another user
        name = db.info.dbname
        db.execute(f"alter database {name} set extension_control_path = '$system:{folder}'")

        def come(database: str) -> list[str]:
            db.execute(f"alter database {name} set pg_net.database_name = '{database}'")
            return apply_schema(dsn)

        yield come


EXTENSIONS = "select array_agg(extname::text) as it from pg_extension where extname = 'pg_net'"


def test_a_pg_net_that_serves_another_database_is_not_made_here(clock, db, server, pg_net):
    """It could be, and would never send."""
    assert [text for text in pg_net("elsewhere") if "pg_net" in text] == [
        "extension pg_net is installed but cannot be used here: it serves database elsewhere"
    ]
    assert db.execute(EXTENSIONS).fetchone() == {"it": None}
    assert response(db, call(db, "http_get", server.url))["status_code"] == 200


@pytest.mark.parametrize("place", ["public", "extensions"])
def test_a_real_pg_net_that_comes_while_the_clock_runs_is_not_served(
    quick_retries, clock, db, server, pg_net, place
):
    db.execute(f"create schema if not exists {place}")
    assert not [text for text in pg_net(db.info.dbname) if "pg_net" in text]
    assert db.execute(
        "select extnamespace::regnamespace::text as it from pg_extension where extname = 'pg_net'"
    ).fetchone() == {"it": place}
    db.execute(
        "insert into net.http_request_queue (method, url, timeout_milliseconds) values ('GET', %s, 1000)",
        (server.url,),
    )
    # The clock has met it and come back: cron is served again, and by then a request would have been taken.
    db.execute("select cron.schedule('1 seconds', 'select 1')")
    until(db, "select count(*) > 0 from cron.job_run_details where end_time is not null", True)
    until(
        db,
        "select count(*) from pg_stat_activity"
        " where application_name like 'pg_net %' and datname = current_database()",
        0,
    )
    assert db.execute("select count(*) as n from net.http_request_queue").fetchone() == {"n": 1}
    assert server.seen == []
