"""The storage stand-in, through the real client and by hand."""

import io
import socket

import httpx
import pytest
from PIL import Image
from supabase import ClientOptions, create_client

from functions._local.defaults import SECRET_KEY
from tests.conftest import Edge

BUCKET = "generated-images"


@pytest.fixture
def bucket(idle_edge: Edge):
    options = ClientOptions(httpx_client=idle_edge.client)
    return create_client(idle_edge.url, idle_edge.service_role_key, options).storage.from_(BUCKET)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    return file.getvalue()


def put(
    edge: Edge, path: str, data: bytes = b"x", token: str | None = None, **headers: str
) -> httpx.Response:
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
    put(idle_edge, "a.svg", b"<svg><script>alert(1)</script></svg>")
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
        "a" * 300 + ".png",
    ],
)
def test_names_do_not_leave_the_bucket(idle_edge, tmp_path, path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "data" / "secret.png").parent.mkdir(exist_ok=True)
    (tmp_path / "data" / "secret.png").write_bytes(b"secret")
    # By hand: a client library tidies such paths up before it sends them.
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


def test_only_the_service_role_writes(idle_edge):
    for token in (idle_edge.anon_key, idle_edge.user_token()):
        answer = put(idle_edge, "a.png", token=token)
        assert (answer.status_code, answer.json()["statusCode"]) == (400, "403")
    assert public(idle_edge, "a.png").json()["statusCode"] == "404"
    assert put(idle_edge, "a.png", token=SECRET_KEY).status_code == 200


def test_only_pictures_and_only_up_to_the_limit(idle_edge, monkeypatch):
    assert put(idle_edge, "a.html").json()["statusCode"] == "415"
    monkeypatch.setattr("functions._local.storage.MAX_FILE_BYTES", 10)
    assert put(idle_edge, "a.png", b"x" * 11).json()["statusCode"] == "413"
    assert public(idle_edge, "a.png").json()["statusCode"] == "404"


def test_in_production_there_is_no_storage_here(start_edge):
    edge = start_edge(LOCAL_STACK="false")
    assert put(edge, "a.png").status_code == 404
    assert public(edge, "a.png").status_code == 404
