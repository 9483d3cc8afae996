"""The real supabase-py reads, writes and calls."""

from collections.abc import Iterator

import httpx
import pytest
from postgrest.exceptions import APIError
from supabase import Client, ClientOptions, create_client

from functions._local.defaults import sign_key
from functions._shared.local_keys import LOCAL_JWT_SECRET
from tests.functions._platform.rest.conftest import Rest


@pytest.fixture
def client(rest: Rest) -> Iterator[Client]:
    url = rest.url.removesuffix("/rest/v1")
    with httpx.Client() as connections:
        options = ClientOptions(schema="api", httpx_client=connections)
        yield create_client(url, sign_key(LOCAL_JWT_SECRET, "anon"), options)


def test_reading(client: Client):
    books = client.table("books").select("title, authors!books_author(name)", count="exact")
    found = books.or_("id.eq.1,title.ilike.*guest").order("id", desc=True).range(0, 0).execute()
    assert found.data == [{"title": "The Guest", "authors": {"name": "Bea"}}]
    assert found.count == 2
    one = client.table("books").select("id, covers(colour)").eq("id", 1).single().execute()
    assert one.data == {"id": 1, "covers": {"colour": "blue"}}
    nothing = client.table("books").select("*").eq("id", 9).maybe_single().execute()
    assert nothing is None
    held = client.table("books").select("*", count="exact", head=True).contains("tags", ["novel"])
    assert held.execute().count == 2
    assert client.schema("staff").table("shifts").select("who").execute().data == [{"who": "Ann"}]


def test_errors(client: Client):
    with pytest.raises(APIError) as refused:
        client.table("books").select("id").single().execute()
    assert refused.value.code == "PGRST116"
    with pytest.raises(APIError) as refused:
        client.table("bookz").select("id").execute()
    assert refused.value.hint == "Perhaps you meant the table 'api.books'"


def test_writing(client: Client):
    rows = [{"title": "A", "author_id": 1}, {"title": "B", "author_id": 2}]
    made = client.table("books").insert(rows, count="exact").execute()
    assert [row["title"] for row in made.data] == ["A", "B"]
    upserted = client.table("countries").upsert({"code": "gb", "name": "UK"}).execute()
    assert upserted.data == [{"code": "gb", "name": "UK"}]
    changed = client.table("books").update({"copies": 3}).eq("id", 2).execute()
    assert changed.data[0]["copies"] == 3
    gone = client.table("placements").delete().eq("book_id", 1).execute()
    assert len(gone.data) == 2


def test_calling(client: Client):
    assert client.rpc("add", {"a": 1, "b": 2}).execute().data == 3
    assert client.rpc("add", {"a": 1}, get=True).execute().data == 11
    found = client.rpc("by_format", {"wanted": "audio"}).select("title").execute()
    assert found.data == [{"title": "The Guest"}]
