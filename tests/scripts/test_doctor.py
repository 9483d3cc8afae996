"""``make doctor``: its report, and how its checks are asked. The checks are in test_doctor_*.py beside this file."""

import asyncio
import json
import socket
import subprocess
import sys

import httpx
import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._shared.settings import Settings
from scripts.doctor import __main__ as command
from scripts.doctor.deployment import opened
from scripts.doctor.examine import CHECKS, Check, Result, ask, examine
from scripts.doctor.findings import Finding, State, not_asked, ok, wrong
from scripts.doctor.report import WIDTH, for_people, for_programs, redactor
from scripts.postgres import free_port
from scripts.stack import local_stack
from tests.help import eventually


def settings_of(environ: dict[str, str], **overrides: str) -> Settings:
    return Settings.from_env(local_environment({**environ, **overrides}))


async def found(name: str, settings: Settings) -> Finding:
    [check] = [check for check in CHECKS if check.name == name]
    async with opened(settings) as deployment:
        return (await ask(check, deployment)).finding


def assert_is(finding: Finding, state: State, text: str, do: str = "") -> None:
    """``text`` and ``do`` are parts of the finding's own."""
    assert (finding.state, text in finding.text, do in finding.do) == (state, True, True), finding


def test_a_bad_setting_is_named_and_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "hunter2")
    assert command.main([]) == 1
    said = capsys.readouterr().out
    assert said.startswith("wrong     settings ")
    assert "SUPABASE_JWT_SECRET must have 32 characters" in said
    assert "hunter2" not in said
    assert command.main(["--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["checks"][0]["state"]) == (False, "wrong")


async def test_keys_that_everybody_knows_are_for_one_machine(environ):
    settings = settings_of(environ, PUBLIC_URL="https://edge.example.com")
    assert_is(await found("keys", settings), State.WRONG, "everybody knows", "SUPABASE_JWT_SECRET=")


async def test_an_anon_key_that_may_spend_is_told(environ):
    own = {"SUPABASE_JWT_SECRET": "s" * 40, "PUBLIC_URL": "https://edge.example.com"}
    assert (await found("keys", settings_of(environ, **own))).state is State.OK
    settings = settings_of(environ, **own, ALLOW_ANON="true")
    assert_is(await found("keys", settings), State.WARNING, "ALLOW_ANON", "ALLOW_ANON=false")


async def test_a_check_that_hangs_is_wrong_and_the_others_are_asked(environ, monkeypatch, db):
    monkeypatch.setattr("scripts.doctor.examine.CHECK_S", 0.05)

    async def hangs(_: object) -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    async def breaks(_: object) -> Finding:
        raise ValueError("broken")

    checks = (Check("hangs", hangs), Check("breaks", breaks), CHECKS[0])
    monkeypatch.setattr("scripts.doctor.examine.CHECKS", checks)
    results = await examine(settings_of(environ))
    assert [result.finding.state for result in results] == [
        State.OK, State.WRONG, State.WRONG, State.OK,
    ]  # fmt: skip
    assert results[1].finding.text == "no answer within 0.05 s"


def test_no_secret_gets_through_whoever_quotes_it(environ):
    settings = settings_of(
        environ, SUPABASE_DB_URL="postgresql://me:a-real-one@db/x", SMTP_PASS="mail-pass-word"
    )
    quoted = " ".join(
        [
            settings.supabase_service_role_key.get_secret_value(),
            settings.supabase_db_url.get_secret_value(),
            "a-real-one mail-pass-word postgresql://you:another@host/x",
            *settings.keys_of("anon"),
        ]
    )
    for report in (for_people, for_programs):
        said = report([Result("x", wrong(quoted, quoted), 0)], redactor(settings))
        for secret in (
            "a-real-one", "another", "mail-pass-word", "eyJ", "sb_publishable", "sb_secret",
        ):  # fmt: skip
            assert secret not in said


def test_a_short_password_does_not_shred_the_report(environ):
    settings = settings_of(environ, SUPABASE_DB_URL="postgresql://me:a@db/x")
    said = for_people([Result("a", wrong("as a: postgresql://me:a@db", ""), 0)], redactor(settings))
    assert "as ***: postgresql://***@db" in said


def test_a_line_to_type_stays_whole_and_the_rest_is_folded():
    do = "SUPABASE_DB_URL=postgresql://<login>:<password>@<host>:5432/<database>"
    said = for_people([Result("x", wrong("word " * 60, do), 0)], str).splitlines()
    assert max(map(len, said)) <= WIDTH
    assert f"  -> {do}" in said


def test_what_is_not_asked_for_one_reason_is_said_once():
    results = [Result(name, not_asked("no database"), 0) for name in ("version", "queue")]
    said = for_people([*results, Result("disk", not_asked("no database", "df -h"), 0)], str)
    assert said.count("no database: version, queue") == 1
    assert "3 not asked" in said
    assert len(said.splitlines()) == 4


async def test_a_database_that_never_answers_is_a_report_and_no_crash(environ, monkeypatch):
    """The task that all checks wait for outlives the check whose time is up."""
    monkeypatch.setattr("scripts.doctor.examine.CHECK_S", 0.05)
    monkeypatch.setattr("scripts.doctor.deployment.CONNECT_S", 0.3)
    checks = tuple(check for check in CHECKS if check.name in {"database", "version", "queue"})
    monkeypatch.setattr("scripts.doctor.examine.CHECKS", checks)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://x@127.0.0.1:{port}/x"
        results = await examine(settings_of(environ, SUPABASE_DB_URL=url))
    assert [result.finding.state for result in results] == [
        State.OK, State.WRONG, State.NOT_ASKED, State.NOT_ASKED,
    ]  # fmt: skip


async def test_a_lock_that_a_check_waits_for_is_told(environ, monkeypatch, db, dsn):
    monkeypatch.setattr("scripts.doctor.examine.CHECK_S", 0.5)
    with psycopg.connect(dsn) as holder:
        holder.execute("lock table public.cron_ticks in access exclusive mode")
        finding = await found("tick", settings_of(environ))
    assert_is(finding, State.WRONG, "no answer within", "pg_blocking_pids")


@pytest.mark.parametrize(("encoding", "stdout", "code"), [("ascii", None, 1), ("utf-8", "full", 1)])
def test_a_report_that_cannot_be_written_as_it_is_ends_in_words(encoding, stdout, code):
    environ = {"PYTHONIOENCODING": encoding, "SUPABASE_JWT_SECRET": "ümlaut"}
    command_line = [sys.executable, "-m", "scripts.doctor"]
    with open("/dev/full" if stdout else "/dev/null", "w") as out:
        ended = subprocess.run(
            command_line, env=environ, stdout=out, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == code
    assert b"Traceback" not in ended.stderr


def test_a_line_stays_a_line():
    said = for_people([Result("x", ok("a\nok         forged\x1b[2J"), 0)], str)
    assert said.count("\n") == 1
    assert "\x1b" not in said


@pytest.mark.slow
def test_all_is_well_on_the_local_stack(tmp_path_factory, capsys, monkeypatch):
    """And the report shows none of its keys."""
    ports = {name: str(free_port()) for name in ("EDGE_PORT", "EDGE_DB_PORT", "EDGE_SANDBOX_PORT")}
    environ = {
        **ports,
        "EDGE_DATA_DIR": str(tmp_path_factory.mktemp("stack")),
        "LOG_LEVEL": "ERROR",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with local_stack(environ) as settings:
        with psycopg.connect(settings.supabase_db_url.get_secret_value()) as connection:
            connection.execute("select picture_edge.record_tick()")
        url = f"http://127.0.0.1:{ports['EDGE_PORT']}/ready"
        eventually(lambda: httpx.get(url).json()["notifications"])
        code = command.main(["--local", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [check for check in told["checks"] if check["state"] != "ok"] == []
    assert (code, told["ok"], len(told["checks"])) == (0, True, len(CHECKS) + 1)
    assert "eyJ" not in json.dumps(told)
