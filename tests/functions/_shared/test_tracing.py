"""OpenTelemetry: one trace from the client's traceparent to the upload, received by OTLP; nothing private is in it."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from functions._local.defaults import local_environment
from functions._shared import tracing
from functions._shared.http_client import Transport
from functions._shared.settings import Settings
from tests.conftest import Edge
from tests.help import BANANA, SCHNELL, SMALL, eventually, own_process, start_at, until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Receiver:
    """An OTLP receiver: OpenTelemetry's own messages over HTTP. ``spans``: all that have arrived."""

    def __init__(self) -> None:
        spans: list[Span] = []
        self.spans = spans
        self.services: set[str] = set()
        services = self.services

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sent = ExportTraceServiceRequest.FromString(body)
                for resource in sent.resource_spans:
                    names = {
                        one.key: one.value.string_value for one in resource.resource.attributes
                    }
                    services.add(names["service.name"])
                    for scope in resource.scope_spans:
                        spans.extend(scope.spans)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def named(self, name: str) -> list[Span]:
        return [span for span in list(self.spans) if span.name == name]

    def path_to(self, span: Span) -> list[str]:
        """The names from the client's span to this one; "client" is the first where the trace is whole."""
        by_id = {one.span_id: one for one in self.spans}
        names = [span.name]
        while parent := by_id.get(span.parent_span_id):
            span = parent
            names.insert(0, span.name)
        return ["client" if span.parent_span_id.hex() == PARENT else "?", *names]


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def sent(monkeypatch) -> list[httpx.Request]:
    """The requests to other servers."""
    requests = []
    real = Transport.handle_async_request

    async def handle(self, request):
        requests.append(request)
        return await real(self, request)

    monkeypatch.setattr(Transport, "handle_async_request", handle)
    return requests


def started(edge: Edge, **changes: object) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=kim"}
    answer = edge.post("start-generation", {**SMALL, **changes}, headers=headers)
    assert answer.status_code == 200, answer.text


def attributes(span: Span) -> dict[str, object]:
    return {
        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
    }


START = ["client", "POST start-generation", "enqueue generate-image"]


@pytest.mark.parametrize("model", [SCHNELL, BANANA])
def test_one_trace_from_the_clients_request_to_the_upload(start_edge, receiver, sent, db, model):
    edge = start_edge(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    started(edge, model_id=model, prompt="a secret cat")
    until(db, "select count(*) from image_generations where status = 'completed'", 1)
    eventually(lambda: receiver.named("run download-image"))
    eventually(lambda: receiver.named("POST storage"))
    create, upload = f"generate_content {model}", "storage POST"

    def path(name: str) -> list[str]:
        [span] = receiver.named(name)
        return receiver.path_to(span)

    eventually(lambda: receiver.named(create))
    assert path(create) == [*START, "run generate-image", create]
    uploaded = [*START, "run download-image", upload]
    assert path("POST storage") == [*uploaded, "POST storage"]
    finish = "picture_edge.finish_download_image"
    assert path(finish) == [*START, "run download-image", finish]
    [span] = receiver.named(create)
    assert attributes(span) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "http.response.status_code": 201,
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "replicate",
        "gen_ai.request.model": model,
        "gen_ai.output.type": "image",
    }
    [creation] = [one for one in sent if one.url.path.endswith("predictions")]
    assert creation.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert "tracestate" not in creation.headers
    [run] = receiver.named("run generate-image")
    assert attributes(run)["messaging.destination.name"] == "generate-image"
    assert {
        span.trace_id.hex() for span in receiver.spans if receiver.path_to(span)[0] == "client"
    } == {TRACE}
    assert receiver.services == {"picture-edge"}


def test_nothing_private_is_recorded(start_edge, receiver, db):
    edge = start_edge(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    started(edge, prompt="a secret cat [fault:nsfw]", negative_prompt="dogs of kim")
    started(edge, prompt="a secret cat [fault:failed]")
    until(db, "select count(*) from image_generations where status = 'failed'", 2)
    edge.get("start-generation?prompt=secret")
    eventually(lambda: len(receiver.named("run generate-image")) == 2)
    eventually(lambda: receiver.named("GET start-generation"))
    said = "".join(map(str, receiver.spans))
    for private in ("secret cat", "fault", "kim", "secret", edge.user_id, edge.user_token()[:40]):
        assert private not in said
    assert edge.service_role_key[:40] not in said


def test_an_attempt_that_fails_is_an_error_with_its_class(start_edge, receiver, db):
    edge = start_edge(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    db.execute("select enqueue_job('download-image', '{}')")
    [span] = eventually(lambda: receiver.named("run download-image"))
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "bad_input"
    assert not span.events
    assert edge


def test_an_unsampled_trace_is_not_sent_and_an_invalid_one_begins_anew(start_edge, receiver, db):
    edge = start_edge(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    for traceparent in (f"00-{TRACE}-{PARENT}-00", "00-kim"):
        answer = edge.post("start-generation", SMALL, headers={"traceparent": traceparent})
        assert answer.status_code == 200
    until(db, "select count(*) from image_generations where status = 'completed'", 2)
    eventually(lambda: receiver.named("POST start-generation"))
    eventually(lambda: receiver.named("run download-image"))
    assert TRACE not in {span.trace_id.hex() for span in receiver.spans}
    assert len(receiver.named("run generate-image")) == 1


def test_without_a_receiver_a_job_carries_nothing(edge: Edge, db):
    started(edge)
    until(db, "select count(*) from image_generations where status = 'completed'", 1)
    assert not db.execute("select 1 from job_queue where payload ? 'traceparent'").fetchall()


def test_a_receiver_that_is_away_holds_up_nothing(start_edge, db, monkeypatch):
    monkeypatch.setattr(tracing, "FLUSH_MS", 100)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    edge = start_edge(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    started(edge)
    until(db, "select count(*) from image_generations where status = 'completed'", 1)


async def test_without_the_extra_it_says_so_at_the_start(environ, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = Settings.from_env(
        {**local_environment(environ), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    )
    with caplog.at_level(logging.WARNING):
        async with tracing.open_tracing(settings):
            assert tracing.carried() == {}
    assert [record.message for record in caplog.records] == [tracing.ABSENT]


def test_the_library_is_not_imported_without_a_receiver():
    code = "import sys, functions.gateway.app; print('opentelemetry' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.slow
def test_what_is_recorded_is_sent_before_the_process_ends(environ, receiver, db, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    with own_process({**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}) as (process, url):
        start_at(url)
        until(db, "select count(*) from image_generations where status = 'completed'", 1)
        assert not receiver.spans
        process.terminate()
        process.wait(30)
    assert receiver.named("run download-image")
