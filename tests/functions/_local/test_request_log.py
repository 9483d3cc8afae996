"""The local stack's request line: what was asked and answered, without the query, and nothing where INFO is off."""

import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from functions._local.request_log import RequestLog
from functions._shared.logs import request_id


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok", 201, {"x-request-id": "abc"})


async def breaks(request: Request) -> PlainTextResponse:
    raise RuntimeError


APP = RequestLog(Starlette(routes=[Route("/a", answer, methods=["POST"]), Route("/b", breaks)]))


async def call(method: str, path: str) -> None:
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        await client.request(method, path)


async def test_a_request_is_one_line_without_its_query(caplog):
    names = []

    class Names(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            names.append(request_id.get())
            return True

    caplog.handler.addFilter(named := Names())
    with caplog.at_level("INFO", "functions._local.request_log"):
        await call("POST", "/a?ticket=secret")
    caplog.handler.removeFilter(named)
    [record] = [one for one in caplog.records if one.name.startswith("functions")]
    assert (record.event, record.method, record.path, record.status, record.levelname) == (
        "request", "POST", "/a", 201, "INFO",
    )  # fmt: skip
    assert record.getMessage().startswith("POST /a 201 in ")
    assert "secret" not in caplog.text
    assert "abc" in names, "the request's own id, as the lines within it have it"
    assert request_id.get() == ""


@pytest.mark.parametrize(("path", "status"), [("/b", 500), (f"/{'x' * 5000}", 404)])
async def test_a_failed_one_is_a_line_too_and_bounded(caplog, path, status):
    with caplog.at_level("INFO", "functions._local.request_log"):
        await call("GET", path)
    [record] = [one for one in caplog.records if one.name.startswith("functions")]
    assert record.status == status
    assert len(record.getMessage()) < 300


async def test_with_info_off_there_is_none(caplog):
    with caplog.at_level("WARNING", "functions._local.request_log"):
        await call("POST", "/a")
    assert [one for one in caplog.records if one.name.startswith("functions")] == []
