"""The gateway with its files in an object store, a real S3 server: by the clients, from an upload to the janitor."""

import io
import re
from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx
import pytest
from PIL import Image
from storage3.exceptions import StorageApiError
from supabase import Client, ClientOptions, create_client

from tests.conftest import Edge
from tests.functions._platform.storage.test_resumable import create, patch
from tests.help import eventually, start, until, until_ended
from tests.s3 import S3, s3_server

pytestmark = pytest.mark.slow

PNG = {"content-type": "image/png"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3_server() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def edge(s3: S3, start_edge: Callable[..., Edge]) -> Edge:
    return start_edge(STORAGE_OBJECT_STORE_URL=f"s3://{s3.bucket}/live")


def sizes(s3: S3) -> dict[str, int]:
    """Key → bytes of what is in the store, as S3 lists it."""
    listed = httpx.get(f"{s3.address}/{s3.bucket}", params={"list-type": "2"}).text
    found = re.findall(r"<Key>(.*?)</Key>.*?<Size>(\d+)</Size>", listed, re.DOTALL)
    return {key: int(size) for key, size in found}


@pytest.fixture
def client(edge: Edge) -> Client:
    headers = {"Authorization": f"Bearer {edge.user_token()}"}
    options = ClientOptions(httpx_client=edge.client, headers=headers)
    return create_client(edge.url, edge.anon_key, options)


def noise(side: int) -> bytes:
    """A PNG of ``side`` × ``side`` pixels that does not compress."""
    out = io.BytesIO()
    Image.effect_noise((side, side), 100).convert("RGB").save(out, "PNG")
    return out.getvalue()


def test_a_file_from_its_upload_to_its_end(edge: Edge, client: Client, s3: S3, tmp_path):
    bucket = client.storage.from_("source-images")
    path, data = f"{edge.user_id}/a.png", noise(1700)
    assert len(data) > 5 * 1024 * 1024, "above the least size of a part in S3"
    bucket.upload(path, data, PNG)
    assert [*sizes(s3).values()] == [len(data)]
    assert bucket.download(path) == data
    url = bucket.create_signed_url(path, 60)["signedURL"]
    part = edge.client.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    small = bucket.download(path, {"transform": {"width": 30, "height": 20}})
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.size == (30, 20)
    bucket.copy(path, f"{edge.user_id}/b.png")
    bucket.move(f"{edge.user_id}/b.png", f"{edge.user_id}/c.png")
    assert bucket.download(f"{edge.user_id}/c.png") == data
    bucket.update(path, data[:10], PNG)  # the older blob goes
    assert sorted(sizes(s3).values()) == [10, len(data)]
    bucket.remove([path, f"{edge.user_id}/c.png"])
    assert sizes(s3) == {}
    with pytest.raises(StorageApiError, match="Object not found"):
        bucket.download(path)
    staged = (tmp_path / "data/storage/.incoming").glob("*")
    assert not [*staged]


def test_a_resumable_upload(edge: Edge, client: Client, s3: S3):
    url = create(edge, 10).headers["location"]
    assert patch(edge, url, 0, b"01234").status_code == 204
    assert sizes(s3) == {}, "only whole files are in the store"
    assert patch(edge, url, 5, b"56789").status_code == 204
    assert [*sizes(s3).values()] == [10]
    name = f"{edge.user_id}/a.png"
    assert client.storage.from_("source-images").download(name) == b"0123456789"


def test_a_generation_is_stored_there_and_deleted(edge: Edge, s3: S3):
    generation_id = start(edge)
    [image] = until_ended(edge, generation_id)["images"]
    assert [*sizes(s3).values()] == [image["file_size"]]
    shown = edge.client.get(image["public_url"])
    assert (shown.status_code, len(shown.content)) == (200, image["file_size"])
    assert edge.call("DELETE", f"start-generation/{generation_id}").json()["status"] == "deleted"
    eventually(lambda: not sizes(s3))


def test_the_janitor_finds_orphans_and_lost_files(edge: Edge, s3: S3, db, monkeypatch):
    monkeypatch.setattr("functions._shared.files.janitor.GRACE_S", -60)
    until_ended(edge, start(edge))
    kept = sizes(s3)
    httpx.put(f"{s3.address}/{s3.bucket}/live/blobs/{uuid4()}", content=b"x").raise_for_status()
    assert len(sizes(s3)) == 2
    db.execute(
        "insert into storage.objects (bucket_id, name, version) values ('generated-images', 'lost', %s)",
        (str(uuid4()),),
    )
    db.execute("select public.enqueue_job('cleanup-storage', '{}')")
    query = "select result - 'message' from job_queue where job_type = 'cleanup-storage'"
    until(db, query, {"removed": 1, "rows_without_file": 1})
    assert sizes(s3) == kept
