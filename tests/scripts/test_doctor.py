"""``make doctor``: its report, and how its checks are asked. The checks are in test_doctor_*.py beside this file."""

import asyncio
import json

import httpx
import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._shared.settings import Settings
from scripts.doctor import __main__ as command
from scripts.doctor.deployment import opened
from scripts.doctor.examine import CHECKS, Check, Result, ask, examine
from scripts.doctor.findings import Finding, State, ok, wrong
from scripts.doctor.report import for_people, for_programs, redactor
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
    assert said.startswith("wrong      settings")
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
