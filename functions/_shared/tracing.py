"""OpenTelemetry traces, and the one place that knows its conventions: http, messaging, db and gen_ai.

One trace leads from the client's ``traceparent`` (W3C Trace Context) over a start, its job, the provider's call and the
upload. A job carries it in its payload, as the key ``traceparent``: handlers ignore keys that they do not know, and
without tracing there is none. Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set: each call here is one comparison then.

Never recorded: prompts, pictures, users, queries, headers, and the texts of errors, which may quote them.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from importlib.metadata import version
from typing import Any

from starlette.types import Scope

from functions._shared.settings import Settings

log = logging.getLogger(__name__)

TRACEPARENT = "traceparent"
SERVICE = "picture-edge"
QUEUE = "picture_edge"
"""messaging.system: a queue of our own, in PostgreSQL."""
FLUSH_MS = 3000
"""How long a stop waits for the receiver."""
ABSENT = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra otel is not installed: no traces are sent"
    ' (pip install "picture-edge[otel]")'
)

Span = AbstractContextManager[object]
_NONE = nullcontext()


class _Tracing:
    """The library, imported only where traces are sent: that takes 0.1 s of a start."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.trace = trace
        self.propagator = TraceContextTextMapPropagator()
        resource = {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE,
            "service.version": version("picture-edge"),
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
        self.provider = TracerProvider(resource=Resource.create(resource))
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("functions")

    @contextmanager
    def span(
        self, name: str, kind: str, attributes: Mapping[str, Any], parent: str | None = None
    ) -> Iterator[object]:
        """A span; its parent is the current one, or that of ``parent``, a traceparent."""
        context = self.propagator.extract({TRACEPARENT: parent}) if parent else None
        with self.tracer.start_as_current_span(
            name,
            context,
            kind=self.trace.SpanKind[kind],
            attributes=dict(attributes),
            record_exception=False,  # its text may quote a prompt
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                self.failed(type(error).__name__)
                raise

    def failed(self, error_type: str) -> None:
        span = self.trace.get_current_span()
        span.set_attribute("error.type", error_type)
        span.set_status(self.trace.StatusCode.ERROR)

    @property
    def inside(self) -> bool:
        """Whether a span is recorded around the caller: what no trace leads to begins none of its own."""
        return self.trace.get_current_span().is_recording()


_on: _Tracing | None = None


@asynccontextmanager
async def open_tracing(settings: Settings) -> AsyncIterator[None]:
    """Send traces until the block ends, where the settings name a receiver."""
    global _on
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        yield
        return
    try:
        opened = _on = _Tracing(str(endpoint))
    except ImportError:
        log.warning("%s", ABSENT)
        yield
        return
    log.info("traces are sent to %s", endpoint.host)
    try:
        yield
    finally:
        _on = None
        await asyncio.to_thread(opened.provider.force_flush, FLUSH_MS)
        await asyncio.to_thread(opened.provider.shutdown)


def request(scope: Scope) -> Span:
    """Around the answer to an HTTP request; ``answered`` tells the rest."""
    if _on is None:
        return _NONE
    parent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    attributes = {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
    return _on.span(scope["method"], "SERVER", attributes, parent.decode("latin-1") or None)


def answered(function: str, method: str, status: int) -> None:
    """The response to the current request begins. ``function``: in the place of a route, which would have no ids."""
    if _on is None:
        return
    span = _on.trace.get_current_span()
    span.update_name(f"{method} {function}")
    span.set_attribute("http.route", function)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        _on.failed(str(status))


def enqueue(job_type: str) -> Span:
    """Around the statement that writes jobs: its span is the parent of their attempts."""
    if _on is None:
        return _NONE
    attributes = {
        "messaging.system": QUEUE,
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.destination.name": job_type,
    }
    return _on.span(f"enqueue {job_type}", "PRODUCER", attributes)


def carried() -> dict[str, str]:
    """The current span as a traceparent, for a job's payload or a request's headers; nothing outside of a trace."""
    carrier: dict[str, str] = {}
    if _on is not None:
        _on.propagator.inject(carrier)  # an unsampled one too: it says not to record what follows
    carrier.pop("tracestate", None)  # of the client's, of any length
    return carrier


def attempt(job_id: object, job_type: str, attempt_number: int, payload: object) -> Span:
    """Around an attempt of a job."""
    if _on is None:
        return _NONE
    found = payload.get(TRACEPARENT) if isinstance(payload, dict) else None
    attributes = {
        "messaging.system": QUEUE,
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": job_type,
        "messaging.message.id": str(job_id),
        "picture_edge.attempt": attempt_number,
    }
    parent = found if isinstance(found, str) else None
    return _on.span(f"run {job_type}", "CONSUMER", attributes, parent)


def attempt_failed(error_class: str) -> None:
    """The current attempt ends with an error of this class."""
    if _on is not None:
        _on.failed(error_class)


def statement(function: str) -> Span:
    """Around a call of one of our SQL functions."""
    if _on is None or not _on.inside:
        return _NONE
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.stored_procedure.name": function,
    }
    return _on.span(function, "CLIENT", attributes)


def provider_call(operation: str, method: str, host: str, model: str | None = None) -> Span:
    """Around a request to the provider. ``model``: of a create, which is what gen_ai's conventions are about."""
    if _on is None or not _on.inside:
        return _NONE
    attributes = {"http.request.method": method, "server.address": host}
    if model is None:
        return _on.span(f"replicate {operation}", "CLIENT", attributes)
    attributes |= {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "replicate",
        "gen_ai.request.model": model,
        "gen_ai.output.type": "image",
    }
    return _on.span(f"generate_content {model}", "CLIENT", attributes)


def storage_call(method: str, host: str) -> Span:
    """Around a request to Storage."""
    if _on is None or not _on.inside:
        return _NONE
    attributes = {"http.request.method": method, "server.address": host}
    return _on.span(f"storage {method}", "CLIENT", attributes)


def response_status(status: int) -> None:
    """The response to the current call of another server."""
    if _on is not None and _on.inside:
        _on.trace.get_current_span().set_attribute("http.response.status_code", status)
        if status >= 400:
            _on.failed(str(status))
