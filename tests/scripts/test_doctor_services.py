"""make doctor's checks of gateway, Storage, provider, clocks and disks: each is red once for its cause."""

import os
from collections.abc import Callable

import pytest

from functions._shared.database.version import SCHEMA_VERSION
from functions._shared.errors import GenerationFailed
from functions._shared.settings import Settings
from scripts.doctor.findings import State
from tests.conftest import Edge
from tests.functions.process_jobs.test_schema_version import set_version
from tests.help import eventually
from tests.scripts.test_doctor import assert_is, found, settings_of
from tests.scripts.test_doctor_database import AS_SERVICE, login

__all__ = ["login"]


@pytest.fixture
def beside(environ) -> Callable[..., Settings]:
    """The settings of a gateway's deployment, as its doctor reads them."""

    def read(edge: Edge, **overrides: str) -> Settings:
        return settings_of(environ, EDGE_PORT=edge.url.rpartition(":")[2], **overrides)

    return read


async def test_a_gateway_is_there_and_ready(edge: Edge, beside):
    settings = beside(edge)
    await_notify = lambda: edge.client.get(f"{edge.url}/ready").json()["notifications"]  # noqa: E731
    eventually(await_notify)
    assert_is(await found("gateway", settings), State.OK, f"{edge.url} is ready")


async def test_no_gateway_is_told(environ):
    settings = settings_of(environ, EDGE_PORT="9")
    assert_is(
        await found("gateway", settings), State.WRONG, "does not answer", "restart picture-edge"
    )


async def test_another_program_on_the_port_is_told(environ, sandbox):
    settings = settings_of(environ, EDGE_PORT=sandbox.url.split(":")[2].removesuffix("/v1"))
    assert_is(await found("gateway", settings), State.WRONG, "something else", "EDGE_PORT=")


async def test_why_a_gateway_is_not_ready_is_told(start_edge, db, beside):
    set_version(db, SCHEMA_VERSION - 1)
    edge = start_edge()
    eventually(lambda: edge.client.get(f"{edge.url}/ready").status_code == 503)
    finding = await found("gateway", beside(edge))
    assert_is(finding, State.WRONG, "not ready: sql/ is older", "make schema")


async def test_a_socket_is_asked_as_well(environ, tmp_path):
    settings = settings_of(environ, EDGE_SOCKET=str(tmp_path / "socket"))
    assert_is(
        await found("gateway", settings), State.WRONG, f"{tmp_path / 'socket'} does not answer"
    )


async def test_a_picture_is_stored_read_and_gone(idle_edge: Edge, beside, db):
    settings = beside(idle_edge)
    assert_is(await found("bucket", settings), State.OK, "bucket generated-images")
    assert_is(await found("a tiny picture", settings), State.OK, "stored, read by its public")
    assert db.execute("select name from storage.objects").fetchall() == []


async def test_an_absent_bucket_is_told(idle_edge: Edge, beside):
    settings = beside(idle_edge, STORAGE_BUCKET="others")
    finding = await found("bucket", settings)
    assert_is(finding, State.WRONG, "no bucket others", "insert into storage.buckets")
    assert_is(await found("a tiny picture", settings), State.NOT_ASKED, "the bucket is not well")


async def test_a_bucket_that_clients_cannot_read_is_told(idle_edge: Edge, beside, db):
    db.execute("update storage.buckets set public = false where id = 'generated-images'")
    settings = beside(idle_edge)
    finding = await found("bucket", settings)
    assert_is(
        finding, State.WRONG, "is not public", "set public = true where id = 'generated-images'"
    )
    assert (await found("a tiny picture", settings)).state is State.NOT_ASKED
    assert db.execute("select name from storage.objects").fetchall() == []


async def test_a_wrong_key_of_storage_is_told(idle_edge: Edge, beside):
    key = "a-key-that-is-not-the-storages-own-key"
    settings = beside(idle_edge, SUPABASE_SERVICE_ROLE_KEY=key)
    finding = await found("bucket", settings)
    assert_is(finding, State.WRONG, "", "SUPABASE_SERVICE_ROLE_KEY=")
    assert key not in finding.text


async def test_why_a_picture_is_not_stored_is_told(idle_edge: Edge, beside, monkeypatch):
    async def no_room(*_: object) -> str:
        raise GenerationFailed("Storage refused the image: There is no room for the object")

    monkeypatch.setattr("functions._shared.pictures.storage.SupabaseStorage.upload", no_room)
    finding = await found("a tiny picture", beside(idle_edge))
    assert_is(finding, State.WRONG, "not stored: Storage refused", "df -h")


async def test_other_bytes_at_the_public_address_are_told_and_none_are_left(
    idle_edge: Edge, beside, sandbox, db
):
    settings = beside(idle_edge, PUBLIC_URL=sandbox.url.removesuffix("/v1"))
    finding = await found("a tiny picture", settings)
    assert_is(finding, State.WRONG, "answers HTTP 40", "PUBLIC_URL=")
    assert db.execute("select name from storage.objects").fetchall() == []


async def test_storage_that_is_not_reachable_is_told(environ):
    settings = settings_of(environ, SUPABASE_URL="http://127.0.0.1:9")
    assert_is(await found("bucket", settings), State.WRONG, "not reachable", "SUPABASE_URL=")


async def test_a_public_address_that_leads_nowhere_is_told(idle_edge: Edge, beside):
    settings = beside(idle_edge, PUBLIC_URL="http://127.0.0.1:9")
    finding = await found("a tiny picture", settings)
    assert_is(finding, State.WRONG, "stored, but http://127.0.0.1:9 does", "PUBLIC_URL=")


async def test_the_providers_account_is_asked_without_paying(environ, sandbox):
    assert_is(await found("provider", settings_of(environ)), State.OK, "account sandbox")
    assert not sandbox.state.predictions


@pytest.mark.parametrize(
    ("changes", "text", "do"),
    [
        ({"REPLICATE_API_TOKEN": "r8_wrong"}, "(401)", "REPLICATE_API_TOKEN="),
        ({"REPLICATE_API_URL": "http://127.0.0.1:9/v1"}, "not reachable", "curl "),
    ],
)
async def test_what_is_wrong_with_the_provider_is_told(environ, monkeypatch, changes, text, do):
    monkeypatch.setattr("functions._shared.provider.replicate.PAUSES_S", ())
    finding = await found("provider", settings_of(environ, **changes))
    assert_is(finding, State.WRONG, text, do)
    assert "r8_wrong" not in finding.text


async def test_no_token_at_all_is_told(environ):
    settings = settings_of(environ).model_copy(update={"replicate_api_token": None})
    assert_is(await found("provider", settings), State.WRONG, "not set", "REPLICATE_API_TOKEN=")


async def test_whether_the_provider_calls_back_is_told(environ, monkeypatch):
    assert_is(await found("provider's calls", settings_of(environ)), State.OK, "polled")
    here = {"PUBLIC_URL": "http://127.0.0.1:9"}
    assert_is(await found("provider's calls", settings_of(environ, **here)), State.OK, "calls back")
    monkeypatch.setattr("functions._shared.provider.replicate.PAUSES_S", ())
    settings = settings_of(environ, **here, REPLICATE_API_TOKEN="r8_wrong")
    assert_is(await found("provider's calls", settings), State.WARNING, "secret of its calls")


@pytest.mark.parametrize(
    ("ahead_s", "state", "text"),
    [(0, State.OK, "agrees"), (12, State.WARNING, "ahead of"), (-90, State.WRONG, "s behind")],
)
@pytest.mark.parametrize("other", ["database", "provider"])
async def test_a_clock_that_is_wrong_is_told(environ, monkeypatch, other, ahead_s, state, text):
    import time

    real = time.time
    monkeypatch.setattr("scripts.doctor.machine.now", lambda: real() + ahead_s)
    finding = await found(f"clock and {other}", settings_of(environ))
    assert_is(finding, state, text, "" if state is State.OK else "set-ntp")


async def test_a_provider_without_a_clock_is_not_asked(environ):
    settings = settings_of(environ, REPLICATE_API_URL="http://127.0.0.1:9/v1")
    assert_is(await found("clock and provider", settings), State.NOT_ASKED, "does not answer")


async def test_a_data_folder_that_cannot_be_written_is_told(environ, tmp_path):
    (tmp_path / "file").write_text("")
    settings = settings_of(environ, EDGE_DATA_DIR=str(tmp_path / "file" / "data"))
    assert_is(await found("disk", settings), State.WRONG, "cannot be written", "EDGE_DATA_DIR=")


@pytest.mark.parametrize(
    ("free_mib", "state"), [(50, State.WRONG), (1000, State.WARNING), (90_000, State.OK)]
)
async def test_a_disk_that_fills_is_told(environ, monkeypatch, free_mib, state):
    disk = list(os.statvfs("/"))
    disk[0] = disk[1] = 1 << 20  # bytes of a block
    disk[2:5] = [100_000, free_mib, free_mib]
    disk[5:8] = [1000, 500, 500]
    monkeypatch.setattr("os.statvfs", lambda _: os.statvfs_result(disk))
    for name in ("disk", "database's disk"):
        finding = await found(name, settings_of(environ))
        assert_is(finding, state, " free (", "" if state is State.OK else "df -h")
    disk[5:8] = [1000, 1, 1]
    assert_is(await found("disk", settings_of(environ)), State.WRONG, "inodes", "df -i")


async def test_a_disk_that_cannot_be_seen_is_not_asked(environ, login, monkeypatch):
    settings = settings_of(environ, SUPABASE_DB_URL=login + AS_SERVICE)
    assert_is(await found("database's disk", settings), State.NOT_ASKED, "may not ask")
    monkeypatch.setattr("scripts.doctor.deployment.is_loopback", lambda _: False)
    finding = await found("database's disk", settings_of(environ))
    assert_is(finding, State.NOT_ASKED, "another machine")
    settings = settings_of(environ, SERVE="rest")
    assert_is(await found("disk", settings), State.OK, "not kept on this machine")
