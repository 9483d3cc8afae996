"""The client snippets of README, QUICK_REFERENCE and CLIENT_GUIDE, run as they are printed, against a new stack."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.postgres import free_port
from scripts.stack import local_stack
from scripts.up import status
from tests.clients import node
from tests.help import PROJECT

pytestmark = pytest.mark.slow

README = PROJECT / "README.md"
QUICK_REFERENCE = PROJECT / "docs" / "QUICK_REFERENCE.md"
CLIENT_GUIDE = PROJECT / "docs" / "CLIENT_GUIDE.md"
WATCH = """
const send = globalThis.fetch
globalThis.fetch = async (...request) => {
  const response = await send(...request)
  const known = response.status === 422 && response.url.endsWith('/signup') // the account is there already
  if (!response.ok && !known) throw new Error(`${response.status} ${response.url} ${await response.text()}`)
  return response
}
"""
"""Put before a program: a refused request ends it, also where the program looks at no error."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A new stack; yields what ``make env`` prints."""
    ports = {name: str(free_port()) for name in ("EDGE_PORT", "EDGE_DB_PORT", "EDGE_SANDBOX_PORT")}
    folder = str(tmp_path_factory.mktemp("stack"))
    environ = {**ports, "EDGE_DATA_DIR": folder, "SANDBOX_SECONDS": "0", "LOG_LEVEL": "ERROR"}
    with local_stack(environ) as settings:
        yield status(settings)


def program(page: Path, language: str) -> str:
    """The blocks of ``language`` on ``page``, in their order, as one program."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S))


def run(stack: dict[str, str], command: list[str], text: str = "", **options: Any) -> list[str]:
    """The lines that a program printed."""
    done = subprocess.run(
        command,
        env={**os.environ, **stack},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_js(stack: dict[str, str], text: str) -> list[str]:
    """Run a program with the newest supabase-js; node 20 has WebSocket behind a flag."""
    command = ["node", "--experimental-websocket", "--input-type=module"]
    return run(stack, command, text, cwd=node.HERE)


def assert_picture(url: str) -> None:
    assert httpx.get(url).headers["content-type"] == "image/webp"


@node.needs_node
def test_the_first_snippet_in_javascript(stack):
    for _ in range(2):  # a person runs it again
        [url] = run_js(stack, WATCH + program(README, "js"))
        assert_picture(url)


def test_the_first_snippet_in_python(stack):
    for _ in range(2):
        [url] = run(stack, [sys.executable, "-c", program(README, "python")])
        assert_picture(url)


@node.needs_node
def test_the_quick_reference_in_javascript(stack):
    look = (
        "\nconsole.log(user.email, row.id === newest[0].id, newest.length === count, done <= count)"
    )
    [line] = run_js(stack, WATCH + program(QUICK_REFERENCE, "js") + look)
    assert line == "ada@example.com true true true"


def test_the_quick_reference_in_python(stack):
    account = {"email": "ada@example.com", "password": "correct horse"}
    headers = {"apikey": stack["ANON_KEY"]}
    httpx.post(f"{stack['API_URL']}/auth/v1/signup", json=account, headers=headers)
    [url, page] = run(stack, [sys.executable, "-c", program(QUICK_REFERENCE, "python")])
    assert_picture(url)
    assert "completed" in page


@node.needs_node
def test_the_client_guide(stack):
    *statuses, thumbnail, stopped, gone = run_js(stack, WATCH + program(CLIENT_GUIDE, "js"))
    assert list(dict.fromkeys(statuses)) == ["processing", "downloading", "completed"]
    prompt, _, url = thumbnail.rpartition(" ")
    assert prompt == "a cat in a hat"
    assert "/render/image/public/" in url
    assert stopped in {"cancelled", "deleted"}  # the sandbox may have been faster than the call
    assert gone == "deleted"
