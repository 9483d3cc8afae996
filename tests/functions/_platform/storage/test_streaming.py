"""Streaming both ways: an object of 50 MB never is in memory as a whole."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from functions._local.defaults import local_environment
from tests.help import own_process

CHUNK = bytes(range(256)) * 4096
SIZE = 50 * len(CHUNK)
ROOM_KB = 20 * 1024


def resident(pid: int, name: str) -> int:
    """VmRSS or VmHWM (its peak) in KB."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith(name)
    ]
    return int(line.split()[1])


def body() -> Iterator[bytes]:
    for _ in range(50):
        yield CHUNK


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=b"])
def test_fifty_megabytes_up_and_down(environ, kind):
    key = local_environment({})["SUPABASE_SERVICE_ROLE_KEY"]
    head = b'--b\r\ncontent-disposition: form-data; name=""; filename="a"\r\n\r\n'
    is_form = kind.startswith("multipart")
    with own_process(environ) as (process, url), httpx.Client(timeout=60) as client:
        address = f"{url}/storage/v1/object/source-images/a.png"
        bearer = {"Authorization": f"Bearer {key}"}
        client.put(address, content=b"x", headers={**bearer, "content-type": "image/png"})

        def sent() -> Iterator[bytes]:
            yield head if is_form else b""
            yield from body()
            yield b"\r\n--b--\r\n" if is_form else b""

        if is_form:
            head = head.replace(b"\r\n\r\n", b"\r\ncontent-type: image/png\r\n\r\n")
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak from now on
        before = resident(process.pid, "VmRSS")
        answer = client.put(address, content=sent(), headers={**bearer, "content-type": kind})
        assert answer.status_code == 200, answer.text
        with client.stream("GET", address, headers=bearer) as download:
            assert sum(map(len, download.iter_bytes())) == SIZE
        used = resident(process.pid, "VmHWM") - before
        print(f"{used} KB above {before} KB")
        assert used < ROOM_KB
