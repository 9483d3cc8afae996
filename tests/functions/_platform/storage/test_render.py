"""/render/image: sizes, formats, the cache, decompression bombs."""

import io
import struct
import zlib

import pytest
from PIL import Image

from tests.conftest import Edge

BUCKET = "generated-images"


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind)
    return file.getvalue()


def put(edge: Edge, data: bytes, key: str = "a.png") -> None:
    answer = edge.client.put(
        f"{edge.url}/storage/v1/object/{BUCKET}/{key}",
        content=data,
        headers={"Authorization": f"Bearer {edge.service_role_key}", "content-type": "image/png"},
    )
    assert answer.status_code == 200, answer.text


def render(edge: Edge, query: str, **headers: str):
    url = f"{edge.url}/storage/v1/render/image/public/{BUCKET}/a.png?{query}"
    return edge.client.get(url, headers=headers)


@pytest.mark.parametrize(
    ("query", "size", "kind"),
    [
        ("width=40", (40, 20), "PNG"),
        ("height=10", (20, 10), "PNG"),
        ("width=40&height=40", (40, 40), "PNG"),
        ("width=40&height=40&resize=contain", (40, 20), "PNG"),
        ("width=30&height=90&resize=fill", (30, 90), "PNG"),
        ("width=40&format=webp&quality=30", (40, 20), "WEBP"),
        ("width=400", (80, 40), "PNG"),
        ("width=0&height=10", (20, 10), "PNG"),  # as upstream: 0 counts as absent,
        ("width=99999&height=1&resize=fill", (2500, 1), "PNG"),  # and too much as the most
    ],
)
def test_sizes_and_formats(idle_edge: Edge, query, size, kind):
    put(idle_edge, picture(80, 40))
    for _ in range(2):  # the second is the cache's
        answer = render(idle_edge, query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == f"image/{kind.lower()}"
        image = Image.open(io.BytesIO(answer.content))
        assert (image.size, image.format) == (size, kind)
    again = render(idle_edge, query, **{"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_new_upload_is_never_shown_as_the_old_one(idle_edge: Edge):
    put(idle_edge, picture(80, 40))
    assert render(idle_edge, "width=10").status_code == 200
    put(idle_edge, picture(80, 80))
    assert Image.open(io.BytesIO(render(idle_edge, "width=10").content)).size == (10, 10)


@pytest.mark.parametrize("query", ["width=-1", "quality=5", "resize=x", "width=x"])
def test_bad_transformations(idle_edge: Edge, query):
    put(idle_edge, picture(8, 4))
    answer = render(idle_edge, query)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequest")


def test_decompression_bombs_are_refused_by_their_header(idle_edge: Edge):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    put(idle_edge, b"\x89PNG\r\n\x1a\n" + chunk)
    assert render(idle_edge, "width=10").status_code == 400


def test_what_is_no_picture(idle_edge: Edge):
    put(idle_edge, b"<svg/>")
    assert "invalid or unsupported" in render(idle_edge, "width=10").json()["message"]


def test_the_cache_is_bounded(start_edge, tmp_path):
    edge = start_edge(IMAGE_TRANSFORMATION_CACHE_BYTES="500")
    put(edge, picture(80, 40))
    for width in range(10, 40):
        assert render(edge, f"width={width}").status_code == 200
    files = [*(tmp_path / "data/storage/renders").iterdir()]
    assert 0 < sum(file.stat().st_size for file in files) <= 500
