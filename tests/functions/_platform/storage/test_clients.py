"""The real supabase-js, at three versions, and supabase-py against our Storage."""

import pytest
from storage3.exceptions import StorageApiError
from supabase import ClientOptions, create_client

from tests.clients.node import VERSIONS, needs_node, run_node
from tests.conftest import Edge


@needs_node
@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_supabase_js(idle_edge: Edge, version: str):
    told = run_node("files.mjs", idle_edge, idle_edge.user_token(), version)
    attachment = "attachment; filename=b.png; filename*=UTF-8''b.png"
    lost = "Either the object does not exist or you do not have access to it"
    assert told == {
        "uploaded": True,
        "again": "The resource already exists",
        "upserted": None,
        "updated": None,
        "theirs": "new row violates row-level security policy",
        "downloaded": "three",
        "missing": True,
        "folders": [["a folder", None]],
        "listed": [["a.png", 5, "image/png"]],
        "signed": ["three", attachment],
        "many": [[None, True], [lost, False]],
        "ticket": None,
        "copied": None,
        "moved": None,
        "removed": ["/a folder/a.png", "/b.png", "/d.png"],
        "buckets": [],
    }


def test_supabase_py(idle_edge: Edge):
    options = ClientOptions(httpx_client=idle_edge.client)
    storage = create_client(idle_edge.url, idle_edge.service_role_key, options).storage
    storage.create_bucket("b", options={"public": False, "file_size_limit": 5})
    with pytest.raises(StorageApiError, match="already exists"):
        storage.create_bucket("b")
    bucket = storage.from_("b")
    bucket.upload("f/a.txt", b"12345", {"content-type": "text/plain", "metadata": {"k": "v"}})
    with pytest.raises(StorageApiError, match="exceeded the maximum allowed size"):
        bucket.upload("f/b.txt", b"123456", {"content-type": "text/plain"})
    storage.update_bucket("b", {"public": True, "allowed_mime_types": ["image/*"]})
    with pytest.raises(StorageApiError, match="mime type text/plain is not supported"):
        bucket.upload("f/b.txt", b"1", {"content-type": "text/plain"})
    assert storage.get_bucket("b").public is True
    assert {one.id for one in storage.list_buckets()} == {"b", "generated-images", "source-images"}
    assert bucket.exists("f/a.txt") is True
    assert bucket.info("f/a.txt")["metadata"] == {"k": "v"}
    assert [one["name"] for one in bucket.list("f", {"search": "A"})] == ["a.txt"]
    page = bucket.list_v2({"prefix": "", "with_delimiter": True})
    assert ([one.name for one in page.folders], page.objects) == (["f/"], [])
    with pytest.raises(StorageApiError, match="is not empty"):
        storage.delete_bucket("b")
    storage.empty_bucket("b")
    storage.delete_bucket("b")
    with pytest.raises(StorageApiError, match="Bucket not found"):
        storage.get_bucket("b")


def test_list_v2_pages_by_cursor(idle_edge: Edge):
    options = ClientOptions(httpx_client=idle_edge.client)
    bucket = create_client(idle_edge.url, idle_edge.service_role_key, options).storage.from_(
        "generated-images"
    )
    for name in ("a", "b/1", "b/2", "c", "d"):
        bucket.upload(name, b"x", {"content-type": "image/png"})
    for column, order in (("name", "asc"), ("name", "desc"), ("created_at", "asc")):
        seen, cursor = [], None
        while True:
            asked = {
                "limit": 2,
                "with_delimiter": True,
                "sortBy": {"column": column, "order": order},
            }
            answer = idle_edge.client.post(
                f"{idle_edge.url}/storage/v1/object/list-v2/generated-images",
                json={**asked, **({"cursor": cursor} if cursor else {})},
                headers={"Authorization": f"Bearer {idle_edge.service_role_key}"},
            ).json()
            names = [one["name"] for one in answer["folders"] + answer["objects"]]
            seen += sorted(names, reverse=order == "desc")
            if not answer["hasNext"]:
                break
            cursor = answer["nextCursor"]
        assert seen == sorted(["a", "b/", "c", "d"], reverse=order == "desc")
