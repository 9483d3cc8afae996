"""`make up`, `make env` and `make demo` as their users run them: as processes of their own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from PIL import Image
from psycopg.rows import dict_row

from functions._local.defaults import local_environment
from functions._shared.settings import Settings
from scripts.postgres import ROOT_HOME, data_home, free_port
from scripts.up import NAMES
from tests.help import eventually, until

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parent.parent.parent
BODY = '{"prompt":"test","model_id":"black-forest-labs/flux-schnell","width":1024,"height":1024}'


@pytest.fixture
def environ(tmp_path_factory) -> Iterator[dict[str, str]]:
    ports = {name: str(free_port()) for name in ("EDGE_PORT", "EDGE_DB_PORT", "EDGE_SANDBOX_PORT")}
    folder = tmp_path_factory.mktemp("stack")
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = {**inherited, **ports, "EDGE_DATA_DIR": str(folder), "SANDBOX_SECONDS": "0"}
    yield environ
    run("scripts.reset", environ)


def run(
    module: str, environ: dict[str, str], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT,
        env=environ,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )


@contextmanager
def started(environ: dict[str, str]) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """The stack's process once it is ready, and what it has printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.up"],
        cwd=PROJECT,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        printed = {}
        while not (line := process.stdout.readline()).startswith("Ready"):
            assert line, "ended before it was ready"
            name, _, value = line.strip().partition(": ")
            printed[name] = value
        yield process, printed


@contextmanager
def up(environ: dict[str, str], end: int = signal.SIGTERM) -> Iterator[dict[str, str]]:
    """The stack, until the block ends; then it must stop on one signal, cleanly. Yields what it printed."""
    with started(environ) as (process, printed):
        try:
            yield printed
        finally:
            process.send_signal(end)
            process.wait(timeout=30)
    assert process.returncode == 0
    for name in ("EDGE_PORT", "EDGE_DB_PORT", "EDGE_SANDBOX_PORT"):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(environ[name]))) != 0, f"{name} still answers"


def test_the_originals_lines_work_as_written_and_data_stays(environ):
    url = f"http://127.0.0.1:{environ['EDGE_PORT']}"
    with up(environ) as printed:
        assert next(iter(printed.items())) == ("open", f"{url}/"), (
            "what a newcomer opens comes first"
        )
        assert "/example/app.js" in httpx.get(printed["open"]).text
        assert printed["API URL"] == url
        assert set(NAMES.values()) < set(printed)
        assert httpx.get(f"{url}/health").status_code == 200
        headers = {
            "Authorization": f"Bearer {printed['anon key']}",
            "Content-Type": "application/json",
        }
        started = httpx.post(f"{url}/functions/v1/start-generation", content=BODY, headers=headers)
        assert started.json()["status"] == "queued"
        worked = httpx.post(f"{url}/functions/v1/process-jobs", headers=headers)
        assert worked.json()["success"] is True
        generation_id = started.json()["generation_id"]
    with up(environ, signal.SIGINT) as printed:
        with psycopg.connect(printed["DB URL"]) as connection:
            [(found,)] = connection.execute("select id from image_generations").fetchall()
        assert str(found) == generation_id


def test_rest_logs_in_as_a_role_that_owns_nothing(environ):
    """A function that resets its role gets the login's. And a new function is served without a restart."""
    with up(environ) as printed:
        with psycopg.connect(printed["DB URL"]) as connection:
            connection.execute(
                "create function public.login() returns name language sql as 'select session_user'"
            )
        url = f"{printed['API URL']}/rest/v1/rpc/login"
        headers = {"apikey": printed["anon key"]}
        eventually(lambda: httpx.get(url, headers=headers).json() == "authenticator")
        with psycopg.connect(printed["DB URL"]) as connection:
            [(owned,)] = connection.execute(
                "select count(*) from pg_class where relowner = 'authenticator'::regrole"
            ).fetchall()
        assert owned == 0


def test_a_killed_stack_leaves_nothing_in_the_way_of_the_next(environ):
    with started(environ) as (process, _):
        process.kill()
    with up(environ):
        pass


def test_env_prints_the_same_as_key_value_lines(environ):
    lines = dict(
        line.split("=", 1) for line in run("scripts.up", environ, "env").stdout.splitlines()
    )
    assert list(lines) == list(NAMES)
    with up(environ) as printed:
        assert lines == {key: printed[name] for key, name in NAMES.items()}


def test_a_token_for_curl(environ):
    url = f"http://127.0.0.1:{environ['EDGE_PORT']}/auth/v1/user"
    ada, ben = {"EMAIL": "ada@example.test"}, {"EMAIL": "ben@example.test", "PASSWORD": "secret"}

    def user_of(whose: dict[str, str]) -> str:
        printed = run("scripts.user_token", {**environ, **whose})
        assert printed.returncode == 0, printed.stderr
        headers = {"Authorization": f"Bearer {printed.stdout.strip()}"}
        user = httpx.get(url, headers=headers).json()
        assert user["email"] == whose["EMAIL"]
        return str(user["id"])

    with up(environ) as printed:
        assert printed["sign in"].startswith(url.removesuffix("/user"))
        for whose in (ada, ben):
            assert user_of(whose) == user_of(whose), "made once"
        wrong = run("scripts.user_token", {**environ, **ben, "PASSWORD": "another"})
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr == "No token: Invalid login credentials\n"
    gone = run("scripts.user_token", {**environ, **ada})
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "make up starts the stack" in gone.stderr
    nobody = run("scripts.user_token", environ)
    assert "EMAIL is not set" in nobody.stderr


def occupied() -> socket.socket:
    busy = socket.socket()
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    return busy


@pytest.mark.parametrize("name", ["EDGE_PORT", "EDGE_DB_PORT", "EDGE_SANDBOX_PORT"])
@pytest.mark.parametrize("module", ["scripts.up", "scripts.demo"])
def test_a_busy_port_is_one_line_that_names_the_remedy(environ, name, module):
    with occupied() as busy:
        environ[name] = str(busy.getsockname()[1])
        ended = run(module, environ)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert environ[name] in ended.stderr
    assert name in ended.stderr
    assert not (Path(environ["EDGE_DATA_DIR"]) / "postgres").exists(), "half started"


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("MAX_PARALLEL_JOBS", "many", "MAX_PARALLEL_JOBS"),
        ("EDGE_PORT", "99999", "EDGE_PORT"),
        ("SUPABASE_JWT_SECRET", "hunter2", "SUPABASE_JWT_SECRET"),
        ("POSTGRES_BIN", "/nowhere", "POSTGRES_BIN"),
        ("EDGE_HOST", "0.0.0.0", "SUPABASE_JWT_SECRET"),
    ],
)
def test_a_bad_setting_is_named_and_not_shown(environ, setting, value, named):
    ended = run("scripts.up", {**environ, setting: value})
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert named in ended.stderr
    assert "hunter2" not in ended.stderr


def test_the_gateway_alone_refuses_the_network_too(environ):
    local = local_environment(environ)
    for host, named in (("0.0.0.0", "SUPABASE_JWT_SECRET"), ("::", "SUPABASE_JWT_SECRET")):
        ended = run("functions", {**local, "EDGE_HOST": host})
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert named in ended.stderr
    assert "SUPABASE_URL is not set" in run("functions", environ).stderr


def test_a_second_stack_on_the_same_data_is_refused(environ):
    with up(environ):
        other = {**environ, "EDGE_PORT": str(free_port()), "EDGE_DB_PORT": str(free_port())}
        ended = run("scripts.up", other)
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert "Another stack" in ended.stderr
        assert "Another stack" in run("scripts.reset", environ).stderr


def test_the_demo_saves_a_picture_and_says_where(environ):
    ended = run("scripts.demo", {**environ, "PROMPT": "a fox", "MODEL": "stability-ai/sdxl"})
    assert ended.returncode == 0, ended.stderr
    out = ended.stdout
    assert "SANDBOX" in out
    for word in ("a fox", "queued", "completed", "in all", "png", "ms"):
        assert word in out
    [file] = [line.split()[1] for line in out.splitlines() if line.startswith("Picture ")]
    with Image.open(file) as picture:
        assert picture.size == (1024, 1024)
    assert "polled" not in out


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("SERVE", "rest,storage", "auth and realtime are not both served"),
        ("DISABLE_SIGNUP", "true", "no account"),
    ],
)
def test_where_the_demo_cannot_follow_by_realtime_it_says_so_and_polls(
    environ, setting, value, why
):
    ended = run("scripts.demo", {**environ, setting: value})
    assert ended.returncode == 0, ended.stderr
    assert f"The status is polled: {why}" in ended.stdout
    assert "completed" in ended.stdout


def test_the_demo_says_why_there_is_no_picture(environ):
    ended = run("scripts.demo", {**environ, "MODEL": "no/such-model"})
    assert ended.returncode == 1
    assert "Unknown model no/such-model" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may not run PostgreSQL itself")
def test_as_root_a_folder_nobody_may_enter_is_left_closed(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert data_home(closed / ".local").is_relative_to(ROOT_HOME)
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("host", ["::1", "127.0.0.2", "0.0.0.0"])
def test_whatever_it_listens_on_it_reaches_itself(environ, host):
    """SUPABASE_URL and cron's address were always 127.0.0.1: pictures were made, and never stored."""
    own = {"SUPABASE_JWT_SECRET": "s" * 40, "ALLOW_ANON": "true"} if host == "0.0.0.0" else {}
    with up({**environ, **own, "EDGE_HOST": host}) as printed:
        url = printed["API URL"]
        assert httpx.get(f"{url}/health").status_code == 200
        with psycopg.connect(printed["DB URL"], autocommit=True, row_factory=dict_row) as db:
            command = db.execute(
                "select command from cron.job where jobname = 'process-jobs-worker'"
            ).fetchone()
            assert f"{url}/functions/v1/process-jobs" in command["command"]
            httpx.post(
                f"{url}/functions/v1/start-generation",
                content=BODY,
                headers={"Authorization": f"Bearer {printed['anon key']}"},
            ).raise_for_status()
            until(db, "select status from image_generations", "completed")


def test_a_second_stack_needs_no_port_of_the_sandbox(environ):
    usual = Settings.model_fields["edge_sandbox_port"].default
    del environ["EDGE_SANDBOX_PORT"]
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            first.bind(("127.0.0.1", usual))
            first.listen()
        except OSError:
            pass  # somebody's stack runs already
        ended = run("scripts.demo", {**environ, "MODEL": "flux-schnell"})
    assert ended.returncode == 0, ended.stderr


def test_the_models_script_takes_no_laptops_database_on_a_server(environ):
    inherited = {name: environ[name] for name in ("PATH", "HOME", "LANG") if name in environ}
    ended = run("scripts.models", inherited, "list")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "SUPABASE_DB_URL is not set" in ended.stderr
    assert "--local" in ended.stderr
    with up(environ):
        assert (
            "black-forest-labs/flux-schnell"
            in run("scripts.models", environ, "--local", "list").stdout
        )
