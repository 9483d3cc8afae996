"""Every method of storage3, supabase-py's client of Storage: sync and async by the same calls."""

import inspect
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from storage3.exceptions import StorageApiError
from supabase import AsyncClientOptions, ClientOptions, acreate_client, create_client

from tests.conftest import Edge

PNG = {"content-type": "image/png"}
PICTURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, idle_edge: Edge) -> Callable[[httpx.AsyncClient], Any]:
    """Storage of a client with the service role."""
    url, key = idle_edge.url, idle_edge.service_role_key

    async def storage(http: httpx.AsyncClient) -> Any:
        if request.param == "async":
            return (await acreate_client(url, key, AsyncClientOptions(httpx_client=http))).storage
        return create_client(url, key, ClientOptions(httpx_client=idle_edge.client)).storage

    return storage


async def settled(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


async def refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(StorageApiError, match=message):
        await settled(call())


async def test_storage3(connect: Callable[[httpx.AsyncClient], Any]):
    async with httpx.AsyncClient() as http:
        storage = await connect(http)
        await buckets(storage)
        await objects(storage.from_("b"), http)
        await settled(storage.empty_bucket("b"))
        told = await settled(storage.delete_bucket("b"))
        assert told == {"message": "Successfully deleted"}
        await refused(lambda: storage.get_bucket("b"), "Bucket not found")


async def buckets(storage: Any) -> None:
    options = {"public": False, "file_size_limit": 100, "allowed_mime_types": ["image/*"]}
    assert await settled(storage.create_bucket("b", options=options)) == {"name": "b"}
    await refused(lambda: storage.create_bucket("b"), "The resource already exists")
    found = await settled(storage.get_bucket("b"))
    assert (found.public, found.file_size_limit, found.owner) == (False, 100, "")
    await settled(storage.update_bucket("b", {"public": True}))
    found = await settled(storage.get_bucket("b"))
    assert (found.public, found.allowed_mime_types) == (True, ["image/*"])
    names = {one.name for one in await settled(storage.list_buckets())}
    assert names == {"b", "generated-images", "source-images"}


async def objects(bucket: Any, http: httpx.AsyncClient) -> None:
    uploaded = await settled(
        bucket.upload("f/a.png", PICTURE, {**PNG, "metadata": {"by": "Ann"}, "cache-control": "60"})
    )
    assert (uploaded.path, uploaded.full_path) == ("f/a.png", "b/f/a.png")
    await refused(lambda: bucket.upload("f/a.png", b"x", PNG), "The resource already exists")
    await refused(lambda: bucket.upload("a.txt", b"x", {"content-type": "text/plain"}), "mime type")
    await refused(lambda: bucket.upload("b.png", b"x" * 101, PNG), "maximum allowed size")
    await settled(bucket.upload("f/a.png", PICTURE, {**PNG, "upsert": "true"}))
    await settled(bucket.update("f/a.png", PICTURE + b"!", PNG))
    assert await settled(bucket.download("f/a.png")) == PICTURE + b"!"
    await refused(lambda: bucket.download("none.png"), "Object not found")
    info = await settled(bucket.info("f/a.png"))
    assert (info["size"], info["content_type"]) == (9, "image/png")
    assert [await settled(bucket.exists(path)) for path in ("f/a.png", "none.png")] == [True, False]

    public = await settled(bucket.get_public_url("f/a.png", {"download": "c.png"}))
    answer = await http.get(public)
    assert answer.headers["content-disposition"].startswith("attachment; filename=c.png")
    signed = await settled(bucket.create_signed_url("f/a.png", 60))
    assert (await http.get(signed["signedURL"])).content == PICTURE + b"!"
    several = await settled(bucket.create_signed_urls(["f/a.png", "none.png"], 60))
    assert [bool(one["error"]) for one in several] == [False, True]
    ticket = await settled(bucket.create_signed_upload_url("t.png"))
    await settled(bucket.upload_to_signed_url("t.png", ticket["token"], PICTURE, PNG))

    await settled(bucket.copy("t.png", "f/b.png"))
    assert (await settled(bucket.move("t.png", "f/c.png")))["message"] == "Successfully moved"
    names = [one["name"] for one in await settled(bucket.list("f", {"limit": 2, "offset": 1}))]
    assert names == ["b.png", "c.png"]
    page = await settled(bucket.list_v2({"prefix": "f/", "limit": 2}))
    assert ([one.name for one in page.objects], page.hasNext) == (["f/a.png", "f/b.png"], True)
    gone = await settled(bucket.remove(["f/a.png", "none.png"]))
    assert [one["name"] for one in gone] == ["f/a.png"]
