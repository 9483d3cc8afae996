"""Concurrent requests, and failures in the middle: readers see whole objects, no blob is lost or left behind."""

import io
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from functions._platform.storage import render
from tests.conftest import Edge
from tests.functions._platform.storage.calls import call, put, told
from tests.help import eventually

KEY = "generated-images/a.png"


def files(tmp_path: Path) -> list[str]:
    return [file.name for file in (tmp_path / "data/storage").rglob("*") if file.is_file()]


def at_once(count: int, request: Callable[[httpx.Client, int], Any]) -> list[Any]:
    def one(number: int) -> Any:
        with httpx.Client(timeout=60) as client:
            return request(client, number)

    with ThreadPoolExecutor(count) as threads:
        return [*threads.map(one, range(count))]


def test_fifty_uploads_of_one_key(idle_edge: Edge, tmp_path):
    headers = {
        "Authorization": f"Bearer {idle_edge.service_role_key}",
        "content-type": "image/png",
    }
    url = f"{idle_edge.url}/storage/v1/object/{KEY}"
    answers = at_once(
        50, lambda client, n: client.put(url, content=bytes([n]) * 1000, headers=headers)
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["Id"] for answer in answers}) == 1
    assert len(files(tmp_path)) == 1


def test_a_reader_sees_the_old_object_or_the_new_one(idle_edge: Edge):
    put(idle_edge, KEY, b"0" * 1000)
    written, seen = threading.Event(), list[tuple[int, set[int]]]()

    def read() -> None:
        with httpx.Client(timeout=60) as client:
            while not written.is_set():
                answer = client.get(f"{idle_edge.url}/storage/v1/object/public/{KEY}")
                seen.append((answer.status_code, set(answer.content)))

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for number in range(100):
        put(idle_edge, KEY, bytes([number]) * 1000)
    written.set()
    for reader in readers:
        reader.join()
    assert seen
    assert not [(status, found) for status, found in seen if status != 200 or len(found) != 1]


@pytest.mark.parametrize("ending", ["deleted", "moved", "replaced"])
def test_a_download_goes_on(idle_edge: Edge, ending):
    size = 8 * 1024 * 1024
    put(idle_edge, KEY, b"1" * size)
    key = idle_edge.service_role_key
    with (
        httpx.Client(timeout=60) as client,
        client.stream("GET", f"{idle_edge.url}/storage/v1/object/public/{KEY}") as download,
    ):
        chunks = download.iter_bytes()
        received = len(next(chunks))
        if ending == "deleted":
            assert call(idle_edge, "DELETE", f"object/{KEY}", key).status_code == 200
        elif ending == "moved":
            body = {
                "bucketId": "generated-images",
                "sourceKey": "a.png",
                "destinationKey": "b.png",
            }
            assert call(idle_edge, "POST", "object/move", key, json=body).status_code == 200
        else:
            put(idle_edge, KEY, b"2")
        assert received + sum(map(len, chunks)) == size


def test_a_commit_of_unknown_outcome_keeps_the_blob(idle_edge: Edge, db, tmp_path):
    """The connection is lost during COMMIT: the row may be there, and only the janitor can tell."""
    db.execute(
        "create function public.lose() returns trigger language plpgsql security definer as"
        " $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$"
    )
    db.execute(
        "create constraint trigger lose after insert on storage.objects deferrable initially deferred"
        " for each row when (new.metadata ->> 'size' = '3') execute function public.lose()"
    )
    headers = {"content-type": "image/png"}
    path = "object/source-images/a.png"
    answer = call(
        idle_edge, "POST", path, idle_edge.service_role_key, content=b"xyz", headers=headers
    )
    assert told(answer)[1] == "544"
    assert len(files(tmp_path)) == 1


def test_a_blob_that_cannot_be_removed_is_left_to_the_janitor(idle_edge: Edge, monkeypatch):
    put(idle_edge, KEY)

    def fail(*_: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr("functions._shared.files.file_system._unlink", fail)
    put(idle_edge, KEY, b"y")
    answer = call(
        idle_edge,
        "DELETE",
        "object/generated-images",
        idle_edge.service_role_key,
        json={"prefixes": ["a.png"]},
    )
    assert answer.status_code == 200


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (1500, 1500)).save(file, "PNG")
    return file.getvalue()


def test_equal_transformations_are_made_once(idle_edge: Edge, monkeypatch):
    made, transformed = list[object](), render.transformed

    def counted(*arguments: Any) -> tuple[bytes, str]:
        made.append(arguments)
        return transformed(*arguments)

    monkeypatch.setattr(render, "transformed", counted)
    put(idle_edge, KEY, picture())
    url = f"{idle_edge.url}/storage/v1/render/image/public/{KEY}?width=50"
    answers = at_once(100, lambda client, _: client.get(url))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(made) == 1


def test_a_storm_of_transformations_is_shed(idle_edge: Edge, monkeypatch, tmp_path):
    monkeypatch.setattr("functions._platform.storage.render.MAX_WAITING", 4)
    put(idle_edge, KEY, picture())
    url = f"{idle_edge.url}/storage/v1/render/image/public/{KEY}?width="
    answers = at_once(40, lambda client, number: client.get(f"{url}{number + 1}"))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = answers[statuses.index(429)]
    assert told(refused) == (429, "429", "Too many image requests")
    assert not [*(tmp_path / "data/storage/.incoming").iterdir()]


def test_a_full_cache_disk_does_not_lose_the_picture(idle_edge: Edge, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("functions._platform.storage.render_cache.RenderCache.put", fail)
    put(idle_edge, KEY, picture())
    path = f"render/image/public/{KEY}?width=50"
    assert call(idle_edge, "GET", path, None).status_code == 200


def test_a_response_that_nobody_reads_keeps_no_file_open(idle_edge: Edge):
    put(idle_edge, KEY, b"x" * 2_000_000)
    host, port = idle_edge.url.removeprefix("http://").split(":")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"GET /storage/v1/object/public/{KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 5)
