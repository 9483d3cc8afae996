"""Server-sent events of a generation: each change once, Last-Event-ID, 204 after the last event."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest

from functions._shared.provider.prediction import read_prediction
from functions.process_generation.progress import how_far
from tests.conftest import Edge
from tests.help import start


@contextmanager
def listening(edge: Edge, generation_id: str, last: str | None = None) -> Iterator[httpx.Response]:
    headers = {"Authorization": f"Bearer {edge.user_token()}"}
    if last:
        headers["Last-Event-ID"] = last
    url = f"{edge.url}/functions/v1/start-generation/{generation_id}/events"
    with edge.client.stream("GET", url, headers=headers) as response:
        yield response


def told(response: httpx.Response) -> Iterator[tuple[str, dict[str, object]]]:
    """Each event's id and data."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if not line and "data" in event:
            yield event["id"], json.loads(event["data"])
            event = {}
        elif ":" in line:
            name, _, value = line.partition(": ")
            event[name] = value


def test_a_generation_is_told_to_its_end(idle_edge: Edge, db):
    generation_id = start(idle_edge)
    with listening(idle_edge, generation_id) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        # Compressing proxies hold back what they may transform.
        assert response.headers["cache-control"] == "no-cache, no-transform"
        events = told(response)
        _, first = next(events)
        assert (first["status"], first["stage"], first["progress"]) == ("queued", "queued", 0)
        idle_edge.post("process-jobs", {"wait": False}, idle_edge.service_role_key)
        db.execute("update image_generations set status = 'processing'")
        assert next(events)[1]["stage"] == "starting"
        db.execute(
            "select picture_edge.report_progress(array[%s]::uuid[], '{drawing}', '{40}')",
            (generation_id,),
        )
        assert next(events)[1]["progress"] == 40
        db.execute("update image_generations set status = 'failed', error_message = 'no'")
        rest = [data for _, data in events]
    assert [(data["status"], data["error_message"]) for data in rest] == [("failed", "no")]


def test_the_last_event_has_the_pictures(edge: Edge):
    with listening(edge, start(edge)) as response:
        [*_, (_, last)] = told(response)
    assert last["status"] == "completed"
    assert last["progress"] == 100
    assert len(last["images"]) == 1


def test_it_goes_on_where_it_was_cut_and_ends_for_good(idle_edge: Edge, db):
    generation_id = start(idle_edge)
    with listening(idle_edge, generation_id) as response:
        last, _ = next(told(response))
    with listening(idle_edge, generation_id, last) as response:
        events = told(response)
        db.execute("update image_generations set status = 'cancelled'")
        last, data = next(events)
        assert data["status"] == "cancelled", "what was heard before is not told again"
    with listening(idle_edge, generation_id, last) as response:
        assert response.status_code == 204


def test_nobody_elses(idle_edge: Edge):
    generation_id = start(idle_edge)
    assert idle_edge.get(f"start-generation/{uuid4()}/events").status_code == 404
    assert idle_edge.get("start-generation/x/events").status_code == 404
    assert idle_edge.get(f"start-generation/{generation_id}/events", None).status_code == 401
    idle_edge.user_id = str(uuid4())
    assert idle_edge.get(f"start-generation/{generation_id}/events").status_code == 404


def test_many_streams_share_one_look(idle_edge: Edge, db):
    ids = [start(idle_edge) for _ in range(20)]
    firsts, lasts = [], []
    together = threading.Barrier(21)

    def follow(generation_id: str) -> None:
        with httpx.Client(timeout=30) as client:
            edge = Edge(idle_edge.url, "", "", client, idle_edge.user_id)
            with listening(edge, generation_id) as response:
                events = told(response)
                firsts.append(next(events)[1]["generation_id"])
                together.wait()
                lasts.append(next(events)[1]["status"])

    threads = [threading.Thread(target=follow, args=(one,)) for one in ids]
    for thread in threads:
        thread.start()
    together.wait()
    db.execute("update image_generations set status = 'failed'")
    for thread in threads:
        thread.join()
    assert sorted(firsts) == sorted(ids)
    assert lasts == ["failed"] * 20


@pytest.mark.parametrize(
    ("logs", "percent"),
    [
        ("", 0),
        (None, 0),
        ("Using seed: 5\n", 0),
        ("Using seed: 5\n 40%|████      | 12/30 [00:03<00:04,  4.00it/s]\n", 36),
        ("  0%|   | 0/4\r 25%|#  | 1/4\r 50%|## | 2/4\n", 45),
        ("step 3/4\n", 68),
        ("100%|#| 4/4\nsaving\n", 0),
        ("loaded 1.5% more\n", 0),
        ("150%\n", 90),
    ],
)
def test_how_far_the_logs_say_it_is(logs, percent):
    told = read_prediction({"id": "p", "status": "processing", "logs": logs})
    assert how_far(told) == ("drawing", percent)
