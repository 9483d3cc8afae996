"""GET /metrics: what a gateway counts, for whom, and what it asks of the database and how often."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from functions._shared.metrics import instruments
from scripts.postgres import free_port
from tests.conftest import Edge
from tests.help import BANANA, SCHNELL, eventually, own_process, start, start_at, until

KEY = "0123456789abcdef"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series_of(text: str) -> Series:
    return {
        (sample.name.removeprefix("picture_edge_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(series: Series, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    return sum(
        value for (its, has), value in series.items() if its == name and labels.items() <= set(has)
    )


def scrape(edge: Edge | str, key: str = KEY) -> Series:
    url = edge if isinstance(edge, str) else edge.url
    answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return series_of(answer.text)


@pytest.fixture
def seen(start_edge) -> Edge:
    return start_edge(OPERATOR_KEYS=f"prometheus:read={KEY}")


def test_it_is_for_operators_only(edge: Edge, seen: Edge):
    absent = httpx.get(f"{edge.url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    assert absent.status_code == 404
    assert "OPERATOR_KEYS" in absent.json()["error"]
    wrong = ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Basic {KEY}"})
    for headers in (*wrong, {"Authorization": f"Bearer {seen.service_role_key}"}):
        answer = httpx.get(f"{seen.url}/metrics", headers=headers)
        assert answer.status_code == 401
        assert "picture_edge_" not in answer.text
    assert total(scrape(seen), "build_info") == 1


def test_guesses_are_throttled(start_edge):
    edge = start_edge(OPERATOR_KEYS=f"prometheus={KEY}", AUTH_FAILURES_PER_MINUTE="2")
    answers = [
        httpx.get(f"{edge.url}/metrics", headers={"Authorization": "Bearer x"}).status_code
        for _ in range(4)
    ]
    assert answers == [401, 401, 429, 429]
    assert scrape(edge)


def test_the_port_of_its_own_needs_no_key_and_serves_nothing_else(start_edge):
    port = free_port()
    edge = start_edge(METRICS_PORT=str(port))
    url = f"http://127.0.0.1:{port}"
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert total(series_of(answer.text), "database_up") == 1
    assert httpx.get(f"{url}/functions/v1/process-jobs").status_code == 404
    assert httpx.get(f"{edge.url}/metrics").status_code == 404


def test_a_generation_is_counted_at_each_step(seen: Edge, db):
    before = scrape(seen)
    start(seen, model_id=SCHNELL)
    start(seen, model_id=BANANA)
    until(db, "select count(*) from image_generations where status = 'completed'", 2)
    ended = {"outcome": "completed"}

    def counted() -> Series | None:
        after = scrape(seen)
        done = total(after, "generation_seconds_count") - total(before, "generation_seconds_count")
        return after if done == 2 else None

    after = eventually(counted)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    for model in (SCHNELL, BANANA):
        assert grown("predictions_total", model=model, outcome="succeeded") == 1
        assert grown("generation_seconds_count", model=model, **ended) == 1
        assert grown("cost_usd_total", model=model) > 0
    for job_type in ("generate-image", "download-image"):
        assert grown("job_attempts_total", job_type=job_type, **ended) == 2
        assert grown("job_wait_seconds_count", job_type=job_type) == 2
        assert grown("job_duration_seconds_count", job_type=job_type) == 2
    assert grown("job_attempts_total", job_type="generate-image", outcome="parked") == 2
    assert grown("provider_requests_total", operation="create", status="201") == 2
    assert grown("provider_requests_total", operation="get", status="200") >= 1
    posted = {"function": "start-generation", "method": "POST", "status": "200"}
    assert grown("http_request_duration_seconds_count", **posted) == 2
    assert total(after, "db_pool_size", pool="main") >= 1


def test_failures_have_their_class_and_no_text(seen: Edge, db):
    before = scrape(seen)
    start(seen, prompt="[fault:nsfw] a cat of kim@example.com", model_id=BANANA)
    until(db, "select count(*) from image_generations where status = 'failed'", 1)
    after = eventually(
        lambda: (
            it
            if total(it := scrape(seen), "generation_seconds_count", outcome="failed")
            > total(before, "generation_seconds_count", outcome="failed")
            else None
        )
    )
    failed = {"job_type": "generate-image", "outcome": "failed", "error_class": "refused"}
    assert total(after, "job_attempts_total", **failed) - total(
        before, "job_attempts_total", **failed
    ) == (1)
    eventually(lambda: total(scrape(seen), "jobs", status="failed", job_type="generate-image") == 1)
    text = str(after)
    assert not re.search(r"kim|nsfw|[0-9a-f]{8}-[0-9a-f]{4}-", text)


def test_a_made_up_name_is_other(seen: Edge, db):
    db.execute("select enqueue_job('a cat of kim', '{}'), enqueue_job('a cat of kim 2', '{}')")
    assert total(scrape(seen), "jobs", job_type="other", status="pending") == 2
    httpx.request("PURGE", f"{seen.url}/functions/v1/start-generation")
    httpx.get(f"{seen.url}/kim")
    after = scrape(seen)
    assert total(after, "http_request_duration_seconds_count", method="other") >= 1
    assert total(after, "http_request_duration_seconds_count", function="other", status="404") >= 1
    assert "kim" not in str(after)


def test_a_model_that_a_client_has_written_is_no_label(seen: Edge, db):
    row = db.execute(
        "insert into image_generations (user_id, prompt, model, status)"
        " values (%s, 'a cat', 'made-up/by-kim', 'pending') returning id::text as id",
        [seen.user_id],
    ).fetchone()
    body = {"prompt": "a cat", "generation_id": row["id"], "model_id": BANANA}
    assert seen.post("generate-image", body).status_code == 200
    after = eventually(
        lambda: it if total(it := scrape(seen), "generation_seconds_count", model="other") else None
    )
    assert "kim" not in str(after)


def test_the_database_away_leaves_the_other_metrics(seen: Edge, db):
    scrape(seen)
    db.execute("revoke execute on function picture_edge.queue_gauges(interval) from public")
    db.execute("alter function picture_edge.queue_gauges(interval) rename to away")

    def gone() -> bool:
        series = scrape(seen)
        assert total(series, "db_pool_size") >= 1
        return total(series, "database_up") == 0

    eventually(gone)
    assert not total(scrape(seen), "queue_read_age_seconds")


def test_every_metric_says_what_it_is(seen: Edge):
    text = httpx.get(f"{seen.url}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    for family in text_string_to_metric_families(text):
        assert family.name.startswith(instruments.PREFIX)
        assert len(family.documentation) > 10, family.name


@pytest.fixture
def three(environ) -> Iterator[tuple[str, str, object]]:
    port = free_port()
    changes = {"EDGE_WORKERS": "3", "METRICS_PORT": str(port), "OPERATOR_KEYS": f"kim={KEY}"}
    with own_process({**environ, **changes}) as (process, url):
        yield url, f"http://127.0.0.1:{port}/metrics", process


@pytest.mark.slow
def test_processes_are_counted_together_and_keep_their_counts_when_they_die(three, db):
    url, metrics, process = three
    posted = {"function": "start-generation", "status": "200"}
    name = "http_request_duration_seconds_count"

    def look() -> Series:
        with httpx.Client() as fresh:  # a connection each time: any of the processes answers
            return series_of(fresh.get(metrics).text)

    def counted(count: int) -> bool:
        return all(total(look(), name, **posted) == count for _ in range(6))

    for _ in range(20):
        start_at(url)
    eventually(lambda: counted(20))
    until(db, "select count(*) from image_generations where status = 'completed'", 20)
    eventually(lambda: total(look(), "generation_seconds_count") == 20)
    pids = eventually(lambda: alive(db) if len(alive(db)) == 3 else None)
    folder = folder_of(min(pids))
    slots = sorted(folder.glob("*.lock"))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(alive(db) - pids) == 3)
    for _ in range(5):
        start_at(url)
    eventually(lambda: counted(25))
    assert sorted(folder.glob("*.lock")) == slots
    assert {path.stem.rsplit("_")[-1] for path in folder.glob("*.db")} <= {"0", "1", "2"}
    process.terminate()
    process.wait(30)
    assert not folder.exists()


def folder_of(child: int) -> Path:
    environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    [named] = [one for one in environment if one.startswith(b"PROMETHEUS_MULTIPROC_DIR=")]
    return Path(named.partition(b"=")[2].decode())


def alive(db) -> set[int]:
    """The processes whose worker has lately been seen."""
    rows = db.execute(
        "select worker_id from workers where last_seen_at > clock_timestamp() - interval '4 seconds'"
    ).fetchall()
    return {int(row["worker_id"].rsplit("-", 2)[1]) for row in rows}
