"""Resumable uploads as tus clients send them: create, append, resume, terminate, expire."""

import base64
import socket

from tests.conftest import Edge
from tests.help import eventually

OFFSET = "application/offset+octet-stream"


def metadata(**pairs: str) -> str:
    return ",".join(
        f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items()
    )


def tus(edge: Edge, method: str, url: str, token: str | None = None, **options):
    headers = {
        "Tus-Resumable": "1.0.0",
        "Authorization": f"Bearer {token or edge.user_token()}",
        **options.pop("headers", {}),
    }
    return edge.client.request(method, url, headers=headers, **options)


def create(edge: Edge, length: int, key: str | None = None, **headers: str):
    about = metadata(
        bucketName="source-images",
        objectName=key or f"{edge.user_id}/a.png",
        contentType="image/png",
        cacheControl="60",
        metadata='{"a": 1}',
    )
    return tus(
        edge,
        "POST",
        f"{edge.url}/storage/v1/upload/resumable",
        headers={"Upload-Length": str(length), "Upload-Metadata": about, **headers},
    )


def patch(edge: Edge, url: str, offset: int, data: bytes):
    headers = {"Upload-Offset": str(offset), "Content-Type": OFFSET}
    return tus(edge, "PATCH", url, headers=headers, content=data)


def test_an_upload_in_parts(idle_edge: Edge):
    url = create(idle_edge, 10).headers["location"]
    first = patch(idle_edge, url, 0, b"01234")
    assert (first.status_code, first.headers["upload-offset"]) == (204, "5")
    assert patch(idle_edge, url, 0, b"01234").status_code == 409
    where = tus(idle_edge, "HEAD", url)
    assert (where.headers["upload-offset"], where.headers["upload-length"]) == ("5", "10")
    last = patch(idle_edge, url, 5, b"56789")
    assert (last.status_code, last.headers["tus-complete"]) == (204, "1")
    read = f"{idle_edge.url}/storage/v1/object/source-images/{idle_edge.user_id}/a.png"
    answer = tus(idle_edge, "GET", read)
    assert answer.content == b"0123456789"
    assert answer.headers["cache-control"] == "max-age=60"
    info = tus(idle_edge, "GET", read.replace("/object/", "/object/info/")).json()
    assert (info["metadata"], info["content_type"]) == ({"a": 1}, "image/png")
    ended = tus(idle_edge, "HEAD", url)  # the last response may have been lost
    assert (ended.status_code, ended.headers["upload-offset"]) == (200, "10")
    assert ended.headers["upload-metadata"].startswith(
        "bucketName c291cmNlLWltYWdlcw==,objectName "
    )
    assert patch(idle_edge, url, 5, b"56789").status_code == 409
    kept = tus(idle_edge, "DELETE", url)
    assert (kept.status_code, kept.text) == (400, "Cannot terminate an already completed upload")
    assert tus(idle_edge, "GET", read).content == b"0123456789"


def test_rights_are_checked_before_the_first_byte(idle_edge: Edge):
    answer = create(idle_edge, 10, "another/a.png")
    message = "new row violates row-level security policy"
    assert (answer.status_code, answer.text) == (403, message)


def test_termination(idle_edge: Edge, tmp_path):
    url = create(idle_edge, 10).headers["location"]
    patch(idle_edge, url, 0, b"01")
    assert tus(idle_edge, "DELETE", url).status_code == 204
    assert tus(idle_edge, "HEAD", url).status_code == 404
    assert not [file for file in (tmp_path / "data/storage").rglob("*") if file.is_file()]


def test_an_upload_expires(start_edge):
    edge = start_edge(TUS_URL_EXPIRY_MS="1")
    url = create(edge, 10).headers["location"]
    assert tus(edge, "HEAD", url).status_code == 404


def test_more_than_was_declared_or_allowed(start_edge):
    edge = start_edge(UPLOAD_FILE_SIZE_LIMIT="10")
    assert create(edge, 11).status_code == 413
    url = create(edge, 4).headers["location"]
    assert patch(edge, url, 0, b"01234").status_code == 413


def test_an_upload_is_whole_when_its_object_is_there(idle_edge: Edge, monkeypatch):
    """Until then its last byte counts as missing: a client takes the whole length for success."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    url = create(idle_edge, 10).headers["location"]
    with monkeypatch.context() as full:
        full.setattr("functions._shared.files.file_system._rename_durably", fail)
        assert patch(idle_edge, url, 0, b"0123456789").status_code == 507
    assert tus(idle_edge, "HEAD", url).headers["upload-offset"] == "9"
    assert patch(idle_edge, url, 9, b"9").status_code == 204
    read = f"{idle_edge.url}/storage/v1/object/source-images/{idle_edge.user_id}/a.png"
    assert tus(idle_edge, "GET", read).content == b"0123456789"


def test_what_arrived_before_a_lost_connection_is_kept(idle_edge: Edge):
    url = create(idle_edge, 10).headers["location"]
    host, port = idle_edge.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"PATCH {url.removeprefix(idle_edge.url)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
            f"Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: {OFFSET}\r\n"
            f"Authorization: Bearer {idle_edge.user_token()}\r\n\r\n01234".encode()
        )
        eventually(lambda: patch(idle_edge, url, 7, b"0").status_code == 423)
    eventually(lambda: tus(idle_edge, "HEAD", url).headers["upload-offset"] == "5")
    assert patch(idle_edge, url, 5, b"56789").status_code == 204
