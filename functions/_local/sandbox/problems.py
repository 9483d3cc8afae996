"""Error responses: Replicate's problem details, and connections cut in mid-response."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send


class Problem(Exception):
    """An error with problem details as body: ``title`` unless empty, detail, status, ``extra``."""

    def __init__(self, status: int, detail: str, title: str = "", **extra: object) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {**({"title": title} if title else {}), "detail": detail, "status": status}
        self.body |= extra


class TruncatedResponse(Response):
    """A response shorter than its Content-Length: the server closes the connection before it is complete."""

    def __init__(self, body: bytes = b"", *, promised: int = 1000, **options: Any) -> None:
        super().__init__(body, headers={"content-length": str(promised)}, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        if self.body:
            await send({"type": "http.response.body", "body": self.body, "more_body": True})


async def read_json(request: Request) -> Any:
    """Parse the body as strict JSON that can be encoded again. Raises Problem."""
    try:
        body = json.loads(await request.body())
        # json.loads accepts NaN, 1e999 (infinity) and lone surrogates, which strict JSON in UTF-8 cannot carry.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"Failed to parse request body as JSON: {error}") from error
    return body


async def on_problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    retry_after = problem.body.get("retry_after")
    headers = {"Retry-After": str(retry_after)} if retry_after else None
    return JSONResponse(problem.body, status_code=problem.status, headers=headers)


async def on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    missing = error.status_code == 404
    detail = "The requested resource could not be found." if missing else error.detail
    body = {"detail": detail, "status": error.status_code}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)
