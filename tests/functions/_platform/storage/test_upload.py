"""Our Storage, through the real client and over raw sockets: path traversal, atomic writes, limits, stored XSS."""

import errno
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from PIL import Image
from storage3.exceptions import StorageApiError
from supabase import ClientOptions, create_client

from functions._local.defaults import SECRET_KEY
from tests.conftest import Edge
from tests.help import eventually, until

BUCKET = "generated-images"


@pytest.fixture
def bucket(idle_edge: Edge):
    return bucket_of(idle_edge)


def bucket_of(edge: Edge):
    options = ClientOptions(httpx_client=edge.client)
    return create_client(edge.url, edge.service_role_key, options).storage.from_(BUCKET)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    return file.getvalue()


def put(
    edge: Edge,
    path: str,
    data: bytes | Iterator[bytes] = b"x",
    token: str | None = None,
    **headers: str,
) -> httpx.Response:
    headers = {"cache-control": "max-age=3600", **headers}
    return edge.client.post(
        f"{edge.url}/storage/v1/object/{BUCKET}/{path}",
        content=data,
        headers={"Authorization": f"Bearer {token or edge.service_role_key}", **headers},
    )


def public(edge: Edge, path: str, **headers: str) -> httpx.Response:
    return edge.client.get(f"{edge.url}/storage/v1/object/public/{BUCKET}/{path}", headers=headers)


def test_upload_and_public_download(bucket, idle_edge):
    uploaded = bucket.upload("user/a.png", png(), {"content-type": "image/png"})
    assert uploaded.path == "user/a.png"
    answer = httpx.get(bucket.get_public_url("user/a.png"))
    assert answer.content == png()
    assert answer.headers["content-type"] == "image/png"
    assert int(answer.headers["content-length"]) == len(png())
    assert answer.headers["etag"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_existing_object_wants_upsert(bucket):
    bucket.upload("a.png", b"one", {"content-type": "image/png"})
    with pytest.raises(Exception, match="already exists"):
        bucket.upload("a.png", b"two", {"content-type": "image/png"})
    bucket.upload("a.png", b"three", {"content-type": "image/png", "upsert": "true"})
    assert httpx.get(bucket.get_public_url("a.png")).content == b"three"


def test_ranges_and_heads(idle_edge):
    put(idle_edge, "a.png", b"0123456789")
    part = public(idle_edge, "a.png", Range="bytes=2-4")
    assert (part.status_code, part.content) == (206, b"234")
    head = idle_edge.client.head(f"{idle_edge.url}/storage/v1/object/public/{BUCKET}/a.png")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")


def test_an_svg_cannot_run_scripts(idle_edge):
    svg = b"<svg><script>alert(1)</script></svg>"
    put(idle_edge, "a.svg", svg, **{"content-type": "image/svg+xml"})
    answer = public(idle_edge, "a.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "sandbox" in policy


@pytest.mark.parametrize(
    "path",
    [
        "../../secret.png",
        "..%2f..%2fsecret.png",
        "%2e%2e/%2e%2e/secret.png",
        "a/../../secret.png",
        "a//b.png",
        "./a.png",
        "a%00.png",
        "%5c..%5csecret.png",
        "é.png",
        "a/" * 3000 + "a.png",
        "a%2Fb%2F..%2F..%2F..%2Fsecret.png",
        "%252e%252e/%252e%252e/secret.png",
        "../.incoming/secret.png",
    ],
)
def test_names_do_not_leave_the_bucket(idle_edge, tmp_path, path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "data" / "secret.png").parent.mkdir(exist_ok=True)
    (tmp_path / "data" / "secret.png").write_bytes(b"secret")
    # A raw socket: client libraries normalise such paths.
    host, port = idle_edge.url.removeprefix("http://").split(":")
    for method, base in (("GET", "object/public"), ("POST", "object")):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"{method} /storage/v1/{base}/{BUCKET}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Authorization: Bearer {idle_edge.service_role_key}\r\nContent-Length: 1\r\n\r\nx".encode(
                    "latin-1"
                )
            )
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.split()[1] == b"400", answer
        assert b"\r\n\r\nsecret" not in answer
    assert (tmp_path / "secret.png").read_bytes() == b"secret"


@pytest.mark.parametrize(
    ("path", "number", "message"),
    [("none.png", "404", "Object not found"), ("", "400", "Invalid key: ")],
)
def test_what_is_not_there_is_told_as_supabase_tells_it(idle_edge, path, number, message):
    answer = public(idle_edge, path)
    assert answer.status_code == 400
    assert (answer.json()["statusCode"], answer.json()["message"]) == (number, message)


ODD_KEYS = {
    "five kilobytes": "/".join(["a" * 100] * 50) + ".png",
    "an empty name": "a//b.png",
    "a tab": "a%09b.png",
}


@pytest.mark.parametrize("case", ODD_KEYS)
@pytest.mark.parametrize("upsert", ["true", "false"])
def test_a_key_that_has_no_place_is_told_as_supabase_tells_it(
    idle_edge: Edge, tmp_path: Path, caplog, case, upsert
):
    before = files(tmp_path)
    answers = [put(idle_edge, ODD_KEYS[case], **{"x-upsert": upsert})]
    answers.append(public(idle_edge, ODD_KEYS[case]))
    for answer in answers:
        assert (answer.status_code, answer.json()["statusCode"]) == (400, "400")
        assert answer.json()["error"] == "InvalidKey"
        assert len(answer.content) < 500
    assert public(idle_edge, ODD_KEYS[case]).status_code == 400
    assert files(tmp_path) == before
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


def files(tmp_path: Path) -> list[Path]:
    return sorted(file for file in (tmp_path / "data/storage").rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 500)]
)
@pytest.mark.parametrize("at", ["os.fsync", "pathlib.Path.rename"])
def test_a_failed_write_leaves_nothing(
    idle_edge: Edge, tmp_path: Path, monkeypatch, number, status, at
):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(at, fail)
        answer = put(idle_edge, "u/a.png", b"x" * 100_000)
    assert answer.status_code == status
    assert answer.json()["statusCode"] == str(status)
    assert files(tmp_path) == []
    assert put(idle_edge, "u/a.png", b"x").status_code == 200


def test_a_full_disk_is_worth_another_attempt(idle_edge: Edge, monkeypatch):
    """The worker retries it: space may be freed, and the picture is paid for."""
    with monkeypatch.context() as full:
        full.setattr("functions._shared.files.file_system._rename_durably", no_room)
        with pytest.raises(StorageApiError) as refused:
            bucket_of(idle_edge).upload("a.png", png(), {"content-type": "image/png"})
    assert str(refused.value.status) == "507"
    assert refused.value.message == "There is no room for the object"


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_not_whole_yet_is_nowhere_to_be_read(idle_edge: Edge, tmp_path: Path, monkeypatch):
    seen: list[Path] = []
    rename = Path.rename

    def watched(part: Path, file: Path) -> Path:
        seen.append(part)
        name = quote(part.relative_to(tmp_path / "data/storage").as_posix())
        assert public(idle_edge, part.name).json()["statusCode"] == "404"
        assert httpx.get(f"{idle_edge.url}/storage/v1/object/public/{name}").status_code == 400
        return rename(part, file)

    monkeypatch.setattr("pathlib.Path.rename", watched)
    assert put(idle_edge, "a.png").status_code == 200
    assert seen


def test_a_form_that_is_none_is_told_so(idle_edge: Edge):
    for body, words in ((b"x", "multipart"), (b"--b--\r\n", "no file")):
        answer = put(
            idle_edge, "a.png", body, **{"content-type": "multipart/form-data; boundary=b"}
        )
        assert (answer.status_code, answer.json()["statusCode"]) == (400, "400")
        assert words in answer.json()["message"]


def test_who_has_the_picture_is_not_sent_it_again(idle_edge: Edge):
    put(idle_edge, "a.png", b"one")
    tag = public(idle_edge, "a.png").headers["etag"]
    for told in (tag, f"W/{tag}", f'"other", {tag}'):
        answer = public(idle_edge, "a.png", **{"If-None-Match": told})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        assert "max-age" in answer.headers["cache-control"]
    put(idle_edge, "a.png", b"other", **{"x-upsert": "true"})
    assert public(idle_edge, "a.png", **{"If-None-Match": tag}).content == b"other"


def test_only_the_service_role_writes(idle_edge):
    for token in (idle_edge.anon_key, idle_edge.user_token()):
        answer = put(idle_edge, "a.png", token=token)
        assert (answer.status_code, answer.json()["statusCode"]) == (400, "403")
    assert public(idle_edge, "a.png").json()["statusCode"] == "404"
    assert put(idle_edge, "a.png", token=SECRET_KEY).status_code == 200


def test_only_up_to_the_limit(start_edge):
    edge = start_edge(UPLOAD_FILE_SIZE_LIMIT="10")
    form = b'--b\r\ncontent-disposition: form-data; name=""; filename="f"\r\n\r\n%b\r\n--b--\r\n'
    whole = form % (b"x" * 11)
    for body, kind in ((b"x" * 11, "image/png"), (whole, "multipart/form-data; boundary=b")):
        for framed in (body, iter([body[:5], body[5:]])):  # with a length, and in chunks
            answer = put(edge, "a.png", framed, **{"content-type": kind})
            assert answer.json()["statusCode"] == "413"
    assert public(edge, "a.png").json()["statusCode"] == "404"
    assert put(edge, "a.png", b"x" * 10).status_code == 200


def test_the_bucket_of_the_settings_is_made(start_edge, db):
    start_edge(STORAGE_BUCKET="paintings")
    until(db, "select public from storage.buckets where id = 'paintings'", True)


def test_files_of_the_earlier_storage_become_objects(start_edge, tmp_path, db):
    old = tmp_path / "data/storage" / BUCKET / "user/old.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(png())
    edge = start_edge()
    until(db, "select count(*)::int from storage.objects", 1)
    eventually(lambda: not old.exists())
    answer = public(edge, "user/old.png")
    assert (answer.content, answer.headers["content-type"]) == (png(), "image/png")


def test_where_nobody_serves_it_there_is_no_storage_here(start_edge):
    edge = start_edge(SERVE="")
    assert put(edge, "a.png").status_code == 404
    answer = public(edge, "a.png")
    assert answer.status_code == 404
    assert {"SERVE", "SUPABASE_UPSTREAM_URL"} <= set(
        answer.json()["error"].replace(",", "").split()
    )
