"""What tests share beside the fixtures: request bodies, the start of a generation, polling, gateway processes,
a pooler before PostgreSQL.
"""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from functions._local.defaults import local_environment
from scripts.postgres import free_port
from tests.conftest import Database, Edge

T = TypeVar("T")

PROJECT = Path(__file__).parent.parent

SCHNELL = "black-forest-labs/flux-schnell"
"""Fast enough that the create request waits for its picture."""
BANANA = "google/nano-banana"
"""Not waited for in the create request: its job is parked, and its prediction polled."""
BODY = {"prompt": "a cat", "model_id": SCHNELL}
SMALL = {**BODY, "width": 256, "height": 256}
"""A picture that is drawn and encoded in a few milliseconds."""
TERMINAL = frozenset({"completed", "failed", "cancelled"})
"""The statuses in which a generation ends."""

LOOK_S = 0.01
"""The pause between two looks: a loop without one takes a core from what it waits for."""
LIMIT_S = 60.0
"""No expectation of speed: below the time-out of a test, so that the failure names what was seen last."""


def eventually(look: Callable[[], T], timeout_s: float = LIMIT_S) -> T:
    """Call ``look`` every 10 ms until its value is true; returns it. Fails with the last value."""
    ends_at = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > ends_at:
            pytest.fail(f"Not within {timeout_s:g} s; last seen: {seen!r}")
        time.sleep(LOOK_S)
    return seen


def until(
    db: Database,
    query: str,
    value: object,
    arguments: Sequence[object] = (),
    timeout_s: float = LIMIT_S,
) -> None:
    """Poll ``query`` until the first column of its first row is ``value`` (None: no row).

    Fails with what it last saw.
    """
    last: list[object] = []

    def reached() -> bool:
        row = db.execute(query.encode(), arguments or None).fetchone()
        last[:] = [next(iter(row.values())) if row else None]
        return last == [value]

    try:
        eventually(reached, timeout_s)
    except pytest.fail.Exception:
        pytest.fail(f"Wanted {value!r}, last seen {last[0]!r} after {timeout_s:g} s: {query}")


def until_ended(edge: Edge, generation_id: str, token: str | None = "") -> dict[str, Any]:
    """Poll a generation over HTTP, as clients do, until its status is terminal; returns the row."""

    def ended() -> dict[str, Any] | None:
        generation: dict[str, Any] = edge.get(f"start-generation/{generation_id}", token).json()
        return generation if generation["status"] in TERMINAL else None

    found = eventually(ended)
    assert found
    return found


def until_logged(capsys: pytest.CaptureFixture[str], text: str) -> str:
    """Collect stderr until ``text`` is in it; returns all of it."""
    said: list[str] = []

    def logged() -> bool:
        said.append(capsys.readouterr().err)
        return text in "".join(said)

    eventually(logged)
    return "".join(said)


def start(edge: Edge, **changes: object) -> str:
    """Start a small generation as the edge's user; ``changes`` override SMALL. Returns its id."""
    answer = edge.post("start-generation", {**SMALL, **changes})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["generation_id"])


def anon_headers() -> dict[str, str]:
    """The Authorization header of the local stack's demo user."""
    return {"Authorization": f"Bearer {local_environment({})['SUPABASE_ANON_KEY']}"}


def start_at(url: str, **changes: object) -> str:
    """As ``start``, through the gateway at ``url``, as the demo user."""
    answer = httpx.post(
        f"{url}/functions/v1/start-generation", json={**SMALL, **changes}, headers=anon_headers()
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["generation_id"])


@contextmanager
def own_process(environ: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """``python -m functions`` in a process of its own, which serves; yields it and its address. Killed at the end."""
    port = free_port()
    values = local_environment({**environ, "EDGE_PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-m", "functions"],
        cwd=PROJECT,
        env={**os.environ, **values},
        stderr=subprocess.DEVNULL,
    ) as process:

        def serves() -> bool:
            try:
                return httpx.get(f"{url}/health").is_success
            except httpx.ConnectError:
                assert process.poll() is None, "the process ended before it served"
                return False

        try:
            eventually(serves)
            yield process, url
        finally:
            process.kill()


class renumbering:
    """A proxy that changes the BackendKeyData message of each connection, as a pooler does."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._server = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> int:
        threading.Thread(target=self._accept, daemon=True).start()
        return int(self._server.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._upstream))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with source, sink:
            try:
                while data := source.recv(65536):
                    key = data.find(b"K\x00\x00\x00")
                    if key >= 0 and data.endswith(b"Z\x00\x00\x00\x05I"):
                        data = data[: key + 5] + struct.pack("!I", 1) + data[key + 9 :]
                    sink.sendall(data)
            except OSError:
                pass
