"""Deleting a picture by any way removes row and file, and gives no quota back; the janitor finds what is left over."""

import asyncio
import os
import time
from uuid import uuid4

import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._shared.database.pool import make_pool
from functions._shared.files.file_system import FileSystem
from functions._shared.files.janitor import sweep
from functions._shared.settings import Settings
from tests.conftest import Edge
from tests.help import eventually, start, until, until_ended


def files(tmp_path):
    return [file for file in (tmp_path / "data/storage").rglob("*") if file.is_file()]


def as_user(edge: Edge, method: str, path: str, **options):
    headers = {"Authorization": f"Bearer {edge.user_token()}", "apikey": edge.anon_key}
    return edge.client.request(method, f"{edge.url}{path}", headers=headers, **options)


@pytest.mark.parametrize("way", ["generation", "images", "storage"])
def test_row_and_file_go_together(edge: Edge, db, tmp_path, way):
    generation_id = start(edge)
    [image] = until_ended(edge, generation_id)["images"]
    assert len(files(tmp_path)) == 1
    if way == "generation":
        answer = edge.call("DELETE", f"start-generation/{generation_id}")
        assert answer.json()["status"] == "deleted"
    elif way == "images":
        answer = as_user(edge, "DELETE", f"/rest/v1/images?id=eq.{image['id']}")
    else:
        body = {"prefixes": [image["storage_path"]]}
        answer = as_user(edge, "DELETE", "/storage/v1/object/generated-images", json=body)
    assert answer.is_success, answer.text
    until(db, "select count(*)::int from public.images", 0)
    until(db, "select count(*)::int from storage.objects", 0)
    eventually(lambda: not files(tmp_path))
    uses = db.execute("select count(*)::int as it from public.quota_uses").fetchone()
    assert uses == {"it": 1}


def test_the_janitor_removes_orphans_and_reports_lost_files(edge: Edge, db, tmp_path, monkeypatch):
    monkeypatch.setattr("functions._shared.files.janitor.GRACE_S", -60)
    driver = FileSystem(tmp_path / "data/storage")
    start_id = start(edge)
    until_ended(edge, start_id)
    [kept] = files(tmp_path)
    orphan = driver.path(uuid4())
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"x")
    stale = tmp_path / "data/storage/.incoming/part"
    stale.write_bytes(b"x")
    os.utime(stale, (time.time() - 90_000,) * 2)
    db.execute(
        "insert into storage.objects (bucket_id, name, version) values ('generated-images', 'lost', %s)",
        (str(uuid4()),),
    )
    job = "select public.enqueue_job('cleanup-storage', '{}')"
    db.execute(job)
    until(db, "select result ->> 'removed' from job_queue where job_type = 'cleanup-storage'", "2")
    until(
        db,
        "select result ->> 'rows_without_file' from job_queue where job_type = 'cleanup-storage'",
        "1",
    )
    assert files(tmp_path) == [kept]


def test_the_bucket_of_a_picture_is_the_one_in_its_address(start_edge, db):
    """STORAGE_BUCKET is the gateway's setting; the database learns it from the rows."""
    edge = start_edge(STORAGE_BUCKET="my pictures (1)")
    [image] = until_ended(edge, start(edge))["images"]
    path = image["storage_path"]
    key = {"Authorization": f"Bearer {edge.service_role_key}"}

    def remove(bucket: str) -> None:
        url = f"{edge.url}/storage/v1/object/{bucket}"
        answer = edge.client.request("DELETE", url, headers=key, json={"prefixes": [path]})
        assert [one["name"] for one in answer.json()] == [path]

    db.execute(
        "insert into storage.objects (bucket_id, name) values ('generated-images', %s)", (path,)
    )
    remove("generated-images")  # the same key in another bucket
    assert db.execute("select count(*)::int as it from public.images").fetchone() == {"it": 1}
    remove("my pictures (1)")
    assert db.execute("select count(*)::int as it from public.images").fetchone() == {"it": 0}


def test_users_own_their_pictures_in_a_bucket_of_another_name(start_edge, db):
    edge: Edge = start_edge(STORAGE_BUCKET="paintings")
    [image] = until_ended(edge, start(edge))["images"]
    path = image["storage_path"]
    eventually(
        lambda: (
            as_user(edge, "GET", f"/storage/v1/object/authenticated/paintings/{path}").is_success
        )
    )
    owner, edge.user_id = edge.user_id, str(uuid4())
    body = {"prefixes": [path]}
    assert as_user(edge, "DELETE", "/storage/v1/object/paintings", json=body).json() == []
    edge.user_id = owner
    [gone] = as_user(edge, "DELETE", "/storage/v1/object/paintings", json=body).json()
    assert gone["name"] == path
    until(db, "select count(*)::int from public.images", 0)


def test_the_janitor_refuses_to_judge_by_what_policies_show(
    dsn, db, tmp_path, environ, monkeypatch, request
):
    """A login role without BYPASSRLS sees no rows: all blobs would count as orphans."""
    db.execute("create role plain_login login password 'x'")
    request.addfinalizer(lambda: db.execute("drop owned by plain_login; drop role plain_login"))
    db.execute("grant usage on schema storage to plain_login")
    db.execute("grant select on storage.objects to plain_login")
    folder = tmp_path / "data/storage"
    blob = FileSystem(folder).path(uuid4())
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x")
    address = dsn.replace("postgres:postgres@", "plain_login:x@")
    settings = Settings.from_env(local_environment({**environ, "SUPABASE_DB_URL": address}))

    async def swept() -> None:
        async with make_pool(settings, min_size=0) as pool:
            await sweep(settings, pool)

    monkeypatch.setattr("functions._shared.files.janitor.GRACE_S", -60)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        asyncio.run(swept())
    assert blob.exists()
