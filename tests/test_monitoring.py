"""docs/monitoring: queries name metrics that /metrics has; alerts fire for a real run that is not well, and no other.
By promtool, of Debian's package prometheus.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Edge
from tests.help import PROJECT, eventually, start, until

FOLDER = PROJECT / "docs" / "monitoring"
ALERTS = (FOLDER / "alerts.yml").read_text("utf-8")
NAMES = re.findall(r"- alert: (\w+)", ALERTS)
KEY = "0123456789abcdef"
promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(promtool is None, reason="promtool is not installed")


def queries() -> dict[str, str]:
    """Title → query of each panel, and alert → its expression."""
    panels = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels
        for target in panel.get("targets", ())
    }
    return found | {"alerts": ALERTS.replace("description", "")}


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], tuple[str, float]]
"""name and labels → type and value"""


def scrape(edge: Edge) -> Samples:
    answer = httpx.get(f"{edge.url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): (family.type, sample.value)
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.fixture
def edge(start_edge) -> Edge:
    return start_edge(OPERATOR_KEYS=f"prometheus:read={KEY}")


def test_every_query_names_metrics_and_labels_that_there_are(edge: Edge, db):
    db.execute("select picture_edge.expect_ticks('1 minute'), enqueue_job('nobody', '{}')")
    db.execute("insert into provider_limits values ('replicate', now()) on conflict do nothing")
    start(edge)
    until(db, "select count(*) from image_generations where status = 'completed'", 1)
    eventually(
        lambda: "completed" in str([key for key in scrape(edge) if "generation_s" in key[0]])
    )
    text = httpx.get(f"{edge.url}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    suffixed = {f"{name}{end}" for name in families for end in ("", "_bucket", "_count", "_sum")}
    labels = {name for line in text.splitlines() for name in re.findall(r'[{,](\w+)="', line)}
    labels |= {"instance", "operation", "le"}  # a scrape's; a refused lease's
    for title, query in queries().items():
        named = set(re.findall(r"picture_edge_\w+", query))
        assert named, title
        assert named <= suffixed, title
        grouped = re.findall(r"(?:by|on) \(([^)]*)\)", query)
        matched = re.findall(r"[{,]\s*(\w+)=~?\"", query)
        assert {*matched, *(one.strip() for it in grouped for one in it.split(","))} <= labels, (
            title
        )


@needs_promtool
def test_promtool_reads_the_rules_and_the_dashboards_queries(tmp_path: Path):
    rules = {
        "groups": [
            {
                "name": "dashboard",
                "rules": [
                    {"record": f"panel_{n}", "expr": query.replace("$__rate_interval", "5m")}
                    for n, (title, query) in enumerate(queries().items())
                    if title != "alerts"
                ],
            }
        ]
    }
    panels = tmp_path / "panels.yml"
    panels.write_text(json.dumps(rules))  # JSON is YAML
    found = subprocess.run(
        [str(promtool), "check", "rules", str(FOLDER / "alerts.yml"), str(panels)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert len(NAMES) == 8


def fires(tmp_path: Path, series: Mapping[str, str], expected: set[str]) -> None:
    """Whether exactly the ``expected`` alerts fire after 15 minutes of ``series`` (promtool's notation)."""
    case = {
        "rule_files": [str(FOLDER / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values} for name, values in series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'max by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "15m",
                        "exp_samples": [
                            {"labels": f'{{alertname="{name}"}}', "value": 1}
                            for name in sorted(expected)
                        ],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "case.yml"
    file.write_text(json.dumps(case))
    found = subprocess.run(
        [str(promtool), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def went_on(before: Samples, after: Samples, seconds: float) -> dict[str, str]:
    """Series as though the run had gone on like that: gauges stay, counters grow as they did."""
    series = {}
    for (name, labels), (kind, value) in after.items():
        if name.startswith("picture_edge_") and not name.endswith("_bucket"):
            _, was = before.get((name, labels), (kind, 0.0))
            grows = kind in {"counter", "histogram"} and value > was
            a_minute = (value - was) / seconds * 60 if grows else 0.0
            text = ",".join(f"{key}={json.dumps(it)}" for key, it in labels)
            instance = 'instance="edge:1"'
            series[f"{name}{{{','.join(filter(None, (text, instance)))}}}"] = (
                f"{value:f}+{a_minute:f}x20"
            )
    return series


@needs_promtool
def test_a_healthy_run_fires_nothing(edge: Edge, db, tmp_path: Path):
    db.execute("select picture_edge.expect_ticks('1 minute')")
    before, began = scrape(edge), time.monotonic()
    for _ in range(5):
        start(edge)
    until(db, "select count(*) from image_generations where status = 'completed'", 5)
    eventually(lambda: scrape(edge)["picture_edge_workers", ()][1] == 1)
    fires(tmp_path, went_on(before, scrape(edge), time.monotonic() - began), set())


@needs_promtool
def test_a_stuck_queue_a_silent_clock_and_a_throttling_provider_fire(
    edge: Edge, db, tmp_path: Path
):
    db.execute("select picture_edge.expect_ticks('1 minute')")
    db.execute(
        "update cron_ticks set ticked_at = now() - interval '1 hour', expected_since = now() - interval '2 hours'"
    )
    db.execute("select pause_queue('send-webhook')")
    db.execute(
        "select enqueue_job('send-webhook', '{}', p_scheduled_at => now() - interval '20 minutes')"
    )
    before, began = scrape(edge), time.monotonic()
    start(edge, prompt="[fault:busy-header*]")
    for _ in range(8):
        db.execute("select enqueue_job('download-image', '{}')")  # no generation: fails at once
    db.execute("select enqueue_job('died', '{}') from generate_series(1, 5)")
    db.execute("select claim_jobs(5, 'w', '1 ms', '{died}')")
    db.execute("select pg_sleep(0.01), picture_edge.requeue_expired(), pause_queue('died')")
    throttled = ("picture_edge_provider_throttled_seconds_total", ())

    def often() -> Samples | None:
        after = scrape(edge)
        grown = after[throttled][1] - before[throttled][1]
        told = after.get(("picture_edge_workers", ()), ("", 0.0))[1] == 1
        asked = after.get(("picture_edge_leases_expired_total", ()), ("", 0.0))[1] >= 5
        return after if grown > 4 and told and asked else None

    after = eventually(often)
    expected = {
        "PictureEdgeClockSilent",
        "PictureEdgeFailures",
        "PictureEdgeLeasesExpired",
        "PictureEdgeOldestDue",
        "PictureEdgeProviderThrottling",
        "PictureEdgeQueueStuck",
    }
    fires(tmp_path, went_on(before, after, time.monotonic() - began), expected)


@needs_promtool
@pytest.mark.parametrize(
    ("series", "alert"),
    [
        ({}, "PictureEdgeNoWorkers"),
        ({'picture_edge_workers{instance="edge:1"}': "0x20"}, "PictureEdgeNoWorkers"),
        (
            {
                'picture_edge_workers{instance="edge:1"}': "1x20",
                'picture_edge_db_pool_waiting{instance="edge:1",pool="main"}': "3x20",
            },
            "PictureEdgeDatabasePoolExhausted",
        ),
    ],
)
def test_the_others_fire(tmp_path: Path, series: dict[str, str], alert: str):
    fires(tmp_path, series, {alert})
