"""The letter of HTTP and of upstream: conditional requests, ranges, caching, errors, URLs, the shapes of answers."""

import pytest

from tests.conftest import Edge
from tests.functions._platform.storage.calls import call, put, told
from tests.functions._platform.storage.test_render import picture

KEY = "generated-images/a.png"
VARYING = frozenset({"date", "x-request-id", "sb-request-id", "server-timing", "x-correlation-id"})
PUBLIC = f"object/public/{KEY}"
MD5 = '"781e5e245d69b566979b86e28d23f2c7"'
"""Of 0123456789, as S3's ETag."""


@pytest.fixture
def digits(idle_edge: Edge) -> Edge:
    put(idle_edge, KEY, b"0123456789", **{"cache-control": "max-age=60"})
    return idle_edge


def test_head_tells_what_get_tells(digits: Edge):
    for route in (PUBLIC, f"object/{KEY}", f"object/authenticated/{KEY}"):
        get, head = call(digits, "GET", route), call(digits, "HEAD", route)
        kept = {name: value for name, value in get.headers.items() if name not in VARYING}
        assert kept == {name: value for name, value in head.headers.items() if name not in VARYING}
        assert (head.status_code, head.content, kept["content-length"]) == (200, b"", "10")
        assert (kept["etag"], kept["cache-control"]) == (MD5, "max-age=60")


def test_a_head_ignores_ranges(digits: Edge):
    """Range is defined for GET alone (RFC 9110, 14.2)."""
    head = call(digits, "HEAD", PUBLIC, None, headers={"Range": "bytes=2-4"})
    assert (head.status_code, head.headers["content-length"]) == (200, "10")


@pytest.mark.parametrize(
    ("asked", "status", "data", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=5-3", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=a-b", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=" + ",".join(["0-1"] * 2000), 200, b"0123456789", None),
    ],
)
def test_ranges(digits: Edge, asked, status, data, content_range):
    answer = call(digits, "GET", PUBLIC, None, headers={"Range": asked})
    assert (answer.status_code, answer.headers.get("content-range")) == (status, content_range)
    if data is None:
        assert told(answer)[1:] == ("416", "invalid range provided")
    else:
        assert answer.content == data


@pytest.mark.parametrize(
    ("condition", "status"),
    [("tag", 206), ("weak", 200), ("date", 206), ("old", 200), ('"other"', 200)],
)
def test_if_range(digits: Edge, condition, status):
    modified = call(digits, "HEAD", PUBLIC, None).headers["last-modified"]
    old = "Mon, 01 Jan 2024 00:00:00 GMT"
    named = {"tag": MD5, "weak": f"W/{MD5}", "date": modified, "old": old}
    headers = {"Range": "bytes=1-2", "If-Range": named.get(condition, condition)}
    assert call(digits, "GET", PUBLIC, None, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": MD5}, 304),
        ({"If-None-Match": f"W/{MD5}"}, 304),
        ({"If-None-Match": f'"x", {MD5}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
    ],
)
def test_conditional_requests(digits: Edge, headers, status):
    for method in ("GET", "HEAD"):
        answer = call(digits, method, PUBLIC, None, headers=headers)
        assert (answer.status_code, answer.headers["etag"]) == (status, MD5)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("download", "attachment;"),
        ("download=a%20b.png", "attachment; filename=a%20b.png; filename*=UTF-8''a%20b.png"),
        ("download=%C3%A9.png", "attachment; filename=%C3%A9.png; filename*=UTF-8''%C3%A9.png"),
        (
            "download=a%22%0d%0aset-cookie:x",
            "attachment; filename=a%22%0D%0Aset-cookie%3Ax; filename*=UTF-8''a%22%0D%0Aset-cookie%3Ax",
        ),
    ],
)
def test_downloads_by_name(digits: Edge, query, value):
    answer = call(digits, "GET", f"{PUBLIC}?{query}", None)
    assert (answer.status_code, answer.headers["content-disposition"]) == (200, value)


def test_a_signed_response_is_not_cached_for_longer_than_its_url(idle_edge: Edge):
    put(idle_edge, "source-images/a.png", **{"cache-control": "public, max-age=31536000"})
    signed = call(
        idle_edge,
        "POST",
        "object/sign/source-images/a.png",
        idle_edge.service_role_key,
        json={"expiresIn": 60},
    ).json()["signedURL"]
    answer = call(idle_edge, "GET", signed.removeprefix("/"), None)
    assert answer.status_code == 200
    assert "cache-control" not in answer.headers
    assert answer.headers["expires"].endswith("GMT")


def test_a_signed_transformation_is_the_tokens(idle_edge: Edge):
    put(idle_edge, "source-images/a.png", picture(80, 40))
    body = {"expiresIn": 60, "transform": {"width": 20, "format": "webp"}}
    path, key = "object/sign/source-images/a.png", idle_edge.service_role_key
    signed = call(idle_edge, "POST", path, key, json=body).json()["signedURL"]
    assert signed.startswith("/render/image/sign/source-images/a.png?token=")
    answer = call(idle_edge, "GET", f"{signed.removeprefix('/')}&width=70&format=origin", None)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    body = {"expiresIn": 60, "transform": {"quality": 1}}
    assert call(idle_edge, "POST", path, key, json=body).status_code == 400


def test_a_signed_url_of_a_key_with_a_question_mark(idle_edge: Edge):
    put(idle_edge, "source-images/a%3Fb.png", b"q")
    key, expiry = idle_edge.service_role_key, {"expiresIn": 60}
    one = call(idle_edge, "POST", "object/sign/source-images/a%3Fb.png", key, json=expiry).json()
    many = {**expiry, "paths": ["a?b.png"]}
    [other] = call(idle_edge, "POST", "object/sign/source-images", key, json=many).json()
    for url in (one["signedURL"], other["signedURL"]):
        assert call(idle_edge, "GET", url.removeprefix("/"), None).content == b"q"


def test_routes_that_there_are_not(idle_edge: Edge):
    answer = call(idle_edge, "GET", "nowhere", None)
    assert answer.status_code == 404
    assert answer.json() == {
        "statusCode": "404",
        "error": "Not Found",
        "message": "Route GET:/nowhere not found",
        "code": "InvalidRequest",
    }
    answer = call(idle_edge, "PATCH", "bucket", None)
    assert (answer.status_code, told(answer)[1]) == (405, "405")


def test_what_moving_and_copying_tell(idle_edge: Edge):
    made = put(idle_edge, "source-images/a.png", b"x")
    key = idle_edge.service_role_key
    names = {"bucketId": "source-images", "sourceKey": "a.png", "destinationKey": "b.png"}
    moved = call(idle_edge, "POST", "object/move", key, json=names).json()
    assert moved == {"message": "Successfully moved", "Id": made, "Key": "b.png"}
    names = {"bucketId": "source-images", "sourceKey": "b.png", "destinationKey": "c.png"}
    body = {**names, "copyMetadata": False, "metadata": {"mimetype": "image/webp"}}
    copied = call(idle_edge, "POST", "object/copy", key, json=body).json()
    assert (copied["Key"], copied["name"]) == ("source-images/c.png", "c.png")
    assert copied["metadata"]["mimetype"] == "image/webp"
    assert copied["metadata"]["eTag"] == '"9dd4e461268c8034f5c8564e155c67a6"'


def test_a_copy_into_a_stricter_bucket(idle_edge: Edge):
    put(idle_edge, "generated-images/a.html", **{"content-type": "text/html"})
    names = {"bucketId": "generated-images", "sourceKey": "a.html", "destinationKey": "a.html"}
    body = {**names, "destinationBucket": "source-images"}
    answer = call(idle_edge, "POST", "object/copy", idle_edge.service_role_key, json=body)
    assert told(answer)[1] == "415"


@pytest.mark.parametrize(
    ("limit", "stored"),
    [
        ("20MB", 20_000_000),
        ("1.5kb", 1500),
        (7, 7),
        ("7", 7),
        ("7 MB", None),
        ("60GB", None),
        (2**40, None),
    ],
)
def test_limits_of_buckets(idle_edge: Edge, db, limit, stored):
    body = {"name": "b", "file_size_limit": limit}
    answer = call(idle_edge, "POST", "bucket", idle_edge.service_role_key, json=body)
    found = db.execute("select file_size_limit from storage.buckets where id = 'b'").fetchone()
    assert (answer.status_code, found) == (
        (200, {"file_size_limit": stored}) if stored else (400, None)
    )


def test_lists_of_buckets(idle_edge: Edge):
    def names(query: str) -> list[str]:
        answer = call(idle_edge, "GET", f"bucket?{query}", idle_edge.service_role_key)
        return [bucket["id"] for bucket in answer.json()]

    assert names("search=IMAGES&sortColumn=id&sortOrder=desc") == [
        "source-images",
        "generated-images",
    ]
    assert names("limit=1&offset=1&sortColumn=name") == ["source-images"]
    assert names("search=%25") == []
    answer = call(idle_edge, "GET", "bucket?sortColumn=x", idle_edge.service_role_key)
    assert told(answer)[1] == "400"


def test_metadata_that_is_none_counts_as_absent(idle_edge: Edge):
    """As upstream."""
    for given in ("%%%", "bm8=", "WzFd"):
        put(idle_edge, "source-images/a.png", **{"x-metadata": given})
        path = "object/info/source-images/a.png"
        info = call(idle_edge, "GET", path, idle_edge.service_role_key).json()
        assert info["metadata"] == {}
