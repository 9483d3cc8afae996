"""webhook_url: told once it has ended, signed, repeated until it is heard, and never sent where it may not go."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks.webhooks import Webhook

from functions._local.defaults import WEBHOOK_SECRET
from functions.process_jobs.jobs.send_webhook import _target
from tests.conftest import Edge, user_token
from tests.help import BODY, eventually, start


@dataclass
class Receiver:
    url: str
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses to answer first; then 204."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.heard.append((headers, self.rfile.read(length)))
            self.send_response(found.answers.pop(0) if found.answers else 204)
            self.send_header("location", "https://xn--/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        server.shutdown()


def until_sent(db, status: str = "completed") -> dict[str, object]:
    query = "select * from job_queue where job_type = 'send-webhook' and status = %s"
    return dict(eventually(lambda: db.execute(query, (status,)).fetchone()))


def test_a_completed_generation_is_told_with_its_pictures(edge: Edge, db, receiver: Receiver):
    generation_id = start(edge, webhook_url=receiver.url)
    job = until_sent(db)
    [(headers, body)] = receiver.heard
    event = Webhook(WEBHOOK_SECRET).verify(body, headers)
    assert headers["webhook-id"] == str(job["id"])
    assert event["type"] == "generation.completed"
    assert event["data"]["id"] == generation_id
    assert len(event["data"]["images"]) == 1


def test_a_failed_and_a_cancelled_one_are_told_too(edge: Edge, db, receiver: Receiver):
    start(edge, webhook_url=receiver.url, prompt="a cat [fault:flagged]")
    until_sent(db)
    db.execute("select pause_queue('generate-image')")
    generation_id = start(edge, webhook_url=receiver.url)
    edge.call("DELETE", f"start-generation/{generation_id}")
    eventually(lambda: len(receiver.heard) == 2)
    types = [json.loads(body)["type"] for _, body in receiver.heard]
    assert types == ["generation.failed", "generation.cancelled"]


def test_it_is_sent_again_under_the_same_id_until_it_is_heard(edge: Edge, db, receiver: Receiver):
    receiver.answers = [500, 302]
    start(edge, webhook_url=receiver.url)

    def heard_thrice() -> bool:
        db.execute("update job_queue set scheduled_at = now() where status = 'pending'")
        return len(receiver.heard) == 3

    eventually(heard_thrice)
    job = until_sent(db)
    assert len(receiver.heard) == 3
    assert {headers["webhook-id"] for headers, _ in receiver.heard} == {str(job["id"])}


def test_a_receiver_that_is_gone_is_left_alone(edge: Edge, db, receiver: Receiver):
    receiver.answers = [410]
    start(edge, webhook_url=receiver.url)
    assert until_sent(db, "failed")["error_message"] == "The webhook answered 410"


def test_without_a_secret_of_ours_it_is_refused(start_edge):
    edge = start_edge(WEBHOOK_SECRET="")
    answer = edge.post("start-generation", {**BODY, "webhook_url": "https://example.com/"})
    assert answer.status_code == 400
    assert "WEBHOOK_SECRET" in answer.json()["error"]


@pytest.mark.parametrize("url", ["ftp://example.com", "javascript:x", "https://" + "x" * 2000, 5])
def test_what_is_no_address_is_refused(idle_edge: Edge, url):
    answer = idle_edge.post("start-generation", {**BODY, "webhook_url": url})
    assert answer.status_code == 400
    assert "webhook_url" in answer.json()["error"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://a:b@example.com/",
    ],
)
async def test_with_keys_of_our_own_only_public_https(url):
    class Resources:
        class settings:
            uses_local_keys = False

    with pytest.raises(Exception, match=r"https|public|plain"):
        await _target(url, Resources)


OWN_KEYS = {
    "SUPABASE_JWT_SECRET": "a-secret-of-my-own-of-at-least-32-characters",
    "WEBHOOK_SECRET": WEBHOOK_SECRET,
}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "http://127.0.0.1:9/internal",
        "https://127.0.0.1/",
        "https://[fec0::1]/",
        "https://2130706433/",
        "https://localhost/",
        "https://api.localhost./",
    ],
)
def test_with_keys_of_our_own_it_is_refused_at_once(start_edge, db, url):
    """SERVE=storage, which is prescribed where there is no Supabase, is no reason to call what is inside."""
    edge = start_edge(SERVE="storage", **OWN_KEYS)
    answer = edge.post(
        "start-generation",
        {**BODY, "webhook_url": url},
        user_token(OWN_KEYS["SUPABASE_JWT_SECRET"]),
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert answer.json()["error"].startswith("webhook_url: ")
    assert db.execute("select count(*) as n from image_generations").fetchone() == {"n": 0}
