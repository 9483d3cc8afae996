"""A database with other styles or another encoding: served as any, or refused in words at every place that looks."""

import logging

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from functions._local.defaults import SANDBOX_TOKEN
from scripts.schema import apply_schema
from tests.conftest import Edge, running_edge
from tests.help import eventually, start, until_ended


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("intervalstyle", "iso_8601"),
        ("datestyle", "German"),
        ("client_encoding", "latin1"),
        ("timezone", "Pacific/Auckland"),
    ],
)
def test_the_styles_of_a_database_change_nothing(start_edge, db, caplog, setting, value):
    """iso_8601 ended the renewal of leases without a word; German failed every picture."""
    db.execute(f"alter database {db.info.dbname} set {setting} = '{value}'")
    db.execute("insert into cron_ticks (ticked_at) values (now() - interval '1 hour')")
    with caplog.at_level(logging.WARNING):
        edge = start_edge()
        assert until_ended(edge, start(edge, prompt="a fox 🦊"))["status"] == "completed"
    url = f"{edge.url}/ready"
    eventually(lambda: (edge.client.get(url).json()["cron_silent_s"] or 0) >= 3600)
    assert edge.client.get(url).json()["status"] == "ready"


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def narrow(admin, dsn, request):
    """The test's database anew, in an encoding that cannot hold what prompts have."""
    name = conninfo_to_dict(dsn)["dbname"]
    admin.execute(f"drop database {name} with (force)")
    admin.execute(
        f"create database {name} encoding '{request.param}' locale 'C' template template0"
    )
    return request.param


def test_an_encoding_other_than_utf8_is_refused_by_make_schema(dsn, narrow):
    with pytest.raises(psycopg.Error, match=f"encoding is {narrow}, and must be UTF8"):
        apply_schema(dsn)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select to_regclass('public.job_queue')").fetchone() == (None,)


def test_and_told_by_ready_diagnostic_and_worker(dsn, narrow, sandbox, tmp_path):
    environ = {
        "EDGE_DATA_DIR": str(tmp_path / "data"),
        "SUPABASE_DB_URL": dsn,
        "REPLICATE_API_TOKEN": SANDBOX_TOKEN,
        "REPLICATE_API_URL": sandbox.url,
    }
    with running_edge(**environ) as edge:
        _told_everywhere(edge, narrow)


def _told_everywhere(edge: Edge, narrow: str) -> None:
    told = f"the database's encoding is {narrow}, and must be UTF8"
    eventually(lambda: told in edge.client.get(f"{edge.url}/ready").json()["status"])
    found = edge.post("process-jobs-test", {}, edge.service_role_key).json()["checks"]["schema"]
    assert (found["ok"], told in found["detail"]) == (False, True)
    answer = edge.post("process-jobs", {}, edge.service_role_key)
    assert (answer.status_code, told in answer.text) == (503, True)
