"""Attacks on rights and on the service itself: escalation, oracles, text that nothing can hold, floods."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Edge, user_token
from tests.functions._platform.storage.calls import call, put, told
from tests.functions._platform.storage.test_resumable import create, metadata, patch, tus

HEAD = (
    b'--b\r\ncontent-disposition: form-data; name=""; filename="a"\r\n'
    b"content-type: image/png\r\n\r\n"
)
UNSTORABLE = ["a\0b", "\ud800", "a\ud800b"]


def test_a_token_cannot_assume_the_role_of_the_connections(idle_edge: Edge):
    answer = call(idle_edge, "GET", "bucket", user_token(role="postgres"))
    assert told(answer) == (400, "403", 'permission denied to set role "postgres"')


@pytest.mark.parametrize("text", UNSTORABLE)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "object/move", {"bucketId": "?", "sourceKey": "a.png", "destinationKey": "b"}),
        (
            "POST",
            "object/copy",
            {
                "bucketId": "source-images",
                "sourceKey": "a.png",
                "destinationKey": "b",
                "destinationBucket": "?",
            },
        ),
        ("POST", "object/copy", {"bucketId": "b", "sourceKey": "?", "destinationKey": "?"}),
        ("DELETE", "object/source-images", {"prefixes": ["?"]}),
        ("POST", "object/sign/source-images", {"expiresIn": 1, "paths": ["?"]}),
        ("POST", "object/list/source-images", {"prefix": "?", "search": "?"}),
        ("POST", "object/list-v2/source-images", {"prefix": "?"}),
        ("POST", "object/list-v2/source-images", {"cursor": "?"}),
        ("POST", "bucket", {"name": "?"}),
        ("PUT", "bucket/source-images", {"allowed_mime_types": ["image/?"]}),
    ],
)
def test_text_that_no_database_holds(idle_edge: Edge, text, method, path, body):
    put(idle_edge, "source-images/a.png")
    if body.get("cursor"):
        text = base64.b64encode(f"l:{text}".encode("utf-8", "surrogatepass")).decode()
    raw = json.dumps(body).replace("?", json.dumps(text)[1:-1])
    answer = call(idle_edge, method, path, idle_edge.service_role_key, content=raw)
    assert (answer.status_code, answer.json()["statusCode"]) == (400, "400")


@pytest.mark.parametrize("path", ["bucket/a%00b", "object/a%00b/c.png", "object/info/a%00b/c.png"])
def test_a_bucket_that_cannot_be(idle_edge: Edge, path):
    answer = call(idle_edge, "GET", path)
    assert told(answer) == (400, "400", "Bucket name invalid")


def test_a_resumable_upload_to_a_bucket_that_cannot_be(idle_edge: Edge):
    headers = {
        "Upload-Length": "3",
        "Upload-Metadata": metadata(bucketName="a\0b", objectName="a"),
    }
    url = f"{idle_edge.url}/storage/v1/upload/resumable"
    answer = tus(idle_edge, "POST", url, headers=headers)
    assert (answer.status_code, answer.text) == (400, "Bucket name invalid")


def test_a_public_bucket_is_read_without_credentials(idle_edge: Edge):
    put(idle_edge, "generated-images/a.png")
    for route in ("object", "object/info"):
        for token in (None, "nonsense", ""):
            path = f"{route}/generated-images/a.png"
            assert call(idle_edge, "GET", path, token).status_code == 200


def test_what_is_private_is_no_oracle(idle_edge: Edge):
    """Whether an object or a bucket is there is not told to anybody who may not read it."""
    put(idle_edge, "source-images/x/a.png")
    for route in ("object", "object/info", "object/public"):
        for path in ("source-images/x/a.png", "source-images/x/b.png", "no-bucket/a.png"):
            answer = call(idle_edge, "GET", f"{route}/{path}", None)
            assert told(answer) == (400, "404", "Bucket not found")
    for route in ("object", "object/authenticated", "object/info"):
        for key in ("a", "b"):
            answer = call(idle_edge, "GET", f"{route}/source-images/x/{key}.png")
            assert told(answer) == (400, "404", "Object not found")
        answer = call(idle_edge, "GET", f"{route}/no-bucket/a.png")
        assert told(answer) == (400, "404", "Bucket not found")


def test_a_bucket_with_hidden_objects_is_not_empty(idle_edge: Edge, db):
    put(idle_edge, "source-images/x/a.png")
    db.execute("create policy see on storage.buckets for all to authenticated using (true)")
    answer = call(idle_edge, "DELETE", "bucket/source-images")
    assert told(answer) == (400, "409", "The bucket you tried to delete is not empty")


def test_emptying_passes_by_what_may_not_be_deleted(idle_edge: Edge, db, monkeypatch):
    monkeypatch.setattr("functions._platform.storage.buckets.BATCH", 2)
    for name in "abcdef":
        put(idle_edge, f"source-images/{name}")
    db.execute("create policy see on storage.buckets for select to authenticated using (true)")
    db.execute("create policy read on storage.objects for select to authenticated using (true)")
    db.execute(
        "create policy del on storage.objects for delete to authenticated using (name = 'f')"
    )
    assert call(idle_edge, "POST", "bucket/source-images/empty").status_code == 200
    left = db.execute("select string_agg(name, '' order by name) as it from storage.objects")
    assert left.fetchone() == {"it": "abcde"}


def test_policies_see_what_the_client_declares(idle_edge: Edge, db):
    db.execute("insert into storage.buckets (id, name) values ('m', 'm')")
    db.execute(
        "create policy png on storage.objects for insert to authenticated"
        " with check (bucket_id = 'm' and metadata ->> 'mimetype' = 'image/png')"
    )

    def sent(kind: str) -> list[int]:
        raw = call(
            idle_edge, "POST", f"object/m/{kind}/a", content=b"x", headers={"content-type": kind}
        )
        files = {"file": ("a.png", b"x", kind)}
        form = call(idle_edge, "POST", f"object/m/{kind}/b", files=files)
        about = metadata(bucketName="m", objectName=f"{kind}/c", contentType=kind)
        headers = {"Upload-Length": "3", "Upload-Metadata": about}
        resumable = tus(
            idle_edge, "POST", f"{idle_edge.url}/storage/v1/upload/resumable", headers=headers
        )
        return [raw.status_code, form.status_code, resumable.status_code]

    assert sent("image/png") == [200, 200, 201]
    assert sent("image/gif") == [400, 400, 403]


def test_a_refused_form_is_refused_at_its_head(idle_edge: Edge, tmp_path):
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield HEAD
        for _ in range(40):
            sent += 1
            yield b"x" * 1024 * 1024

    headers = {"content-type": "multipart/form-data; boundary=b"}
    path = "object/source-images/another/a.png"
    answer = call(idle_edge, "POST", path, content=body(), headers=headers)
    assert told(answer)[1] == "403"
    assert sent < 40


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_form_around_its_parts_is_bounded(idle_edge: Edge, place):
    def body() -> Iterator[bytes]:
        if place == "before":
            yield from (b"\r\n" * 32768 for _ in range(100))
        yield HEAD + b"x\r\n--b--\r\n"
        if place == "after":
            yield from (b"z" * 65536 for _ in range(100))

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = call(
        idle_edge,
        "POST",
        "object/source-images/e.png",
        idle_edge.service_role_key,
        content=body(),
        headers=headers,
    )
    assert told(answer)[:2] == (400, "400")


def test_fields_of_a_form_are_bounded(idle_edge: Edge):
    fields = {f"field{number}": "x" for number in range(11)}
    answer = call(
        idle_edge,
        "POST",
        "object/source-images/e.png",
        idle_edge.service_role_key,
        data=fields,
        files={"file": ("a.png", b"x", "image/png")},
    )
    assert told(answer) == (400, "400", "The form has too many fields")


@pytest.mark.parametrize("depth", [100, 1000, 5000, 100_000])
def test_nested_metadata(idle_edge: Edge, depth):
    nested: dict[str, Any] = {"metadata": '{"a":' + "[" * depth + "]" * depth + "}"}
    answer = call(
        idle_edge,
        "POST",
        "object/source-images/e.png",
        idle_edge.service_role_key,
        data=nested,
        files={"file": ("a.png", b"x", "image/png")},
    )
    assert answer.status_code in {200, 400}


def test_an_upload_url_of_another_user(idle_edge: Edge):
    """A Location is no capability: each part needs the right to write the object."""
    url = create(idle_edge, 10).headers["location"]
    offset = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    for token in (user_token(), idle_edge.anon_key):
        answer = tus(idle_edge, "PATCH", url, token, headers=offset, content=b"evil")
        assert answer.status_code == 403
    assert tus(idle_edge, "HEAD", url).headers["upload-offset"] == "0"
    assert tus(idle_edge, "DELETE", url, user_token()).status_code == 403


def test_unfinished_uploads_of_one_user_are_bounded(start_edge, monkeypatch):
    monkeypatch.setattr("functions._platform.storage.resumable.MAX_UNFINISHED", 3)
    edge = start_edge()
    urls = [create(edge, 4, f"{edge.user_id}/{number}.png") for number in range(3)]
    assert [answer.status_code for answer in urls] == [201] * 3
    refused = create(edge, 4)
    assert (refused.status_code, refused.text) == (429, "Too many unfinished uploads")
    assert patch(edge, urls[0].headers["location"], 0, b"data").status_code == 204
    assert create(edge, 4).status_code == 201


def test_what_unfinished_uploads_declare_is_bounded(start_edge):
    edge = start_edge(UPLOAD_FILE_SIZE_LIMIT="10")
    made = [create(edge, 10, f"{edge.user_id}/{number}.png").status_code for number in range(21)]
    assert made == [201] * 20 + [429]


def test_expired_uploads_do_not_count(start_edge, monkeypatch, tmp_path):
    monkeypatch.setattr("functions._platform.storage.resumable.MAX_UNFINISHED", 1)
    edge = start_edge(TUS_URL_EXPIRY_MS="1")
    assert [create(edge, 4).status_code for _ in range(3)] == [201] * 3
    assert len([*(tmp_path / "data/storage/.incoming").iterdir()]) == 2


def test_a_bug_is_told_in_the_form_of_storage(idle_edge: Edge, monkeypatch):
    def fail(*_: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr("functions._platform.storage.buckets.bucket_json", fail)
    answer = call(idle_edge, "GET", "bucket/source-images", idle_edge.service_role_key)
    assert told(answer) == (500, "500", "Internal Server Error")
