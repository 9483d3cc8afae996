"""Services of Supabase's: where each is served from is chosen by SERVE and SUPABASE_UPSTREAM_URL, told, and held to."""

import pytest

from functions.gateway.app import PLATFORM
from functions.gateway.upstream import SERVICES
from tests.conftest import Edge


@pytest.fixture
def alone(start_edge) -> Edge:
    """A gateway that serves the functions and nothing else."""
    return start_edge(SERVE="")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_nobody_serves_is_404_and_names_the_settings(alone: Edge, service):
    answer = alone.client.get(f"{alone.url}/{service}/v1/anything")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    said = answer.json()["error"]
    assert "SUPABASE_UPSTREAM_URL" in said
    assert (f"name {service} in SERVE" in said) == (service in PLATFORM)


def test_ready_tells_where_each_service_is_served_from(start_edge):
    def told(**settings: str) -> dict[str, str]:
        edge = start_edge(**settings)
        services: dict[str, str] = edge.client.get(f"{edge.url}/ready").json()["services"]
        return services

    nowhere = dict.fromkeys(SERVICES, "not served")
    assert told(SERVE="") == nowhere
    assert told() == nowhere | dict.fromkeys(PLATFORM, "here")
    upstream = "http://127.0.0.1:1"
    assert told(SERVE="rest", SUPABASE_UPSTREAM_URL=upstream) == dict.fromkeys(
        SERVICES, "upstream"
    ) | {"rest": "here"}


def test_what_is_not_served_opens_nothing(alone: Edge, connect):
    """A service's pool and caches cost connections and memory."""
    sessions = (
        connect()
        .execute(
            "select application_name from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        .fetchall()
    )
    assert not [row for row in sessions if "rest" in row["application_name"]]
