"""Storage as the functions see it: the bucket, its addresses, and what a refusal means."""

import httpx
import pytest

from functions._local.defaults import local_environment
from functions._shared.errors import FunctionError, GenerationFailed
from functions._shared.pictures.storage import open_storage
from functions._shared.settings import Settings

BUCKET = {
    "id": "my pictures", "name": "my pictures", "owner": "", "public": True,
    "file_size_limit": None, "allowed_mime_types": None,
    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
PUBLIC = "https://edge.example/storage/v1/object/public/"


async def storage_that(answer):
    environ = {
        "SUPABASE_URL": "http://inside.example:1/",
        "PUBLIC_URL": "https://edge.example/",
        "STORAGE_BUCKET": "my pictures",
    }
    settings = Settings.from_env(local_environment(environ))
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return open_storage(settings, http)


async def test_an_upload_replaces_and_is_read_at_the_public_address():
    sent = []

    async def answer(request):
        sent.append((request, await request.aread()))
        return httpx.Response(200, json={"Id": "1", "Key": "my pictures/a b.png"})

    storage = await storage_that(answer)
    url = await storage.upload("user/a b.png", b"the picture", "image/png")
    assert url == f"{PUBLIC}my%20pictures/user/a%20b.png"
    [(request, body)] = sent
    assert (request.url.host, request.headers["x-upsert"]) == ("inside.example", "true")
    assert (request.headers["content-type"], body) == ("image/png", b"the picture")


@pytest.mark.parametrize(
    ("status", "retry"), [(400, False), (403, False), (413, False), (429, True), (503, True)]
)
async def test_a_refusal_says_whether_to_try_again(status, retry):
    async def answer(request):
        await request.aread()
        body = {"statusCode": str(status), "error": "e", "message": "no"}
        return httpx.Response(400, json=body)

    storage = await storage_that(answer)
    with pytest.raises(GenerationFailed, match=r"^Storage refused the image: no$") as failed:
        await storage.upload("a.png", b"", "image/png")
    assert failed.value.retry is retry


async def test_one_out_of_reach_is_tried_again():
    def answer(request):
        raise httpx.ConnectError("no")

    storage = await storage_that(answer)
    with pytest.raises(GenerationFailed, match=r"not reachable \(ConnectError\)") as failed:
        await storage.upload("a.png", b"", "image/png")
    assert failed.value.retry


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, BUCKET, None),
        (200, {**BUCKET, "public": False}, "bucket my pictures is not public"),
        (400, {"statusCode": "404", "error": "e", "message": "Bucket not found"}, "Bucket not"),
    ],
)
async def test_the_bucket_is_checked(status, body, told):
    storage = await storage_that(lambda _: httpx.Response(status, json=body))
    if told is None:
        assert await storage.check() == "bucket my pictures"
        return
    with pytest.raises(FunctionError, match=told):
        await storage.check()
