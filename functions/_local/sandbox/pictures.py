"""Output files of succeeded predictions, drawn when requested, with the faults of a file server."""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from functions._local.sandbox import drawing
from functions._local.sandbox.faults import Faults
from functions._local.sandbox.other_formats import OTHER_FORMATS, in_other_format
from functions._local.sandbox.picture_size import picture_size
from functions._local.sandbox.predictions import Prediction
from functions._local.sandbox.problems import TruncatedResponse

KEPT_PICTURES = 32
PRIVATE = "http://169.254.169.254/latest/meta-data"
"""The cloud metadata service, target of a server-side request forgery (SSRF)."""

CONTENT_TYPES: Mapping[str, str] = {
    "webp": "image/webp",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "svg": "image/svg+xml",
}


class Pictures:
    """Serves output files; the most recent ``KEPT_PICTURES`` are cached."""

    def __init__(self) -> None:
        # Drawing is deterministic, so an evicted picture can be drawn again with the same bytes.
        self.draw = functools.lru_cache(maxsize=KEPT_PICTURES)(drawing.draw)

    async def answer(
        self, request: Request, prediction: Prediction, faults: Faults, slow_seconds: float
    ) -> Response:
        """The requested file, or the response that the faults ask for. Raises HTTPException 404."""
        names = prediction.filenames() if prediction.status == "succeeded" else []
        name = request.path_params["filename"]
        if name not in names or "missing" in prediction.faults:
            raise HTTPException(404)
        active = prediction.faults
        if "redirect-private" in active:
            return RedirectResponse(PRIVATE)
        if "redirect-good" in active and "moved" not in request.query_params:
            return RedirectResponse(request.url.include_query_params(moved=1))
        if "not-a-picture" in active:
            return HTMLResponse("<!doctype html><title>Not a picture</title>")
        if "endless" in active:
            return StreamingResponse(_endless_bytes(), media_type="image/png")
        if "file-error" in active and faults.happens_again(str(request.url), "file-error"):
            return Response("Internal Server Error", 500)
        if names.index(name) == 1 and (odd := _second(request, active, faults)):
            return odd
        if "slow-file" in active:
            await asyncio.sleep(slow_seconds)
        image_format = prediction.model.output_format(prediction.input)
        data = await self._draw(prediction, names.index(name), image_format)
        for name in active & OTHER_FORMATS:
            data = await run_in_threadpool(in_other_format, data, name)
        if "truncated" in active:
            return TruncatedResponse(
                data[: len(data) // 2], promised=len(data), media_type="image/png"
            )
        content_type = "text/html" if "wrong-type" in active else CONTENT_TYPES[image_format]
        return Response(data, media_type=content_type)

    async def _draw(self, prediction: Prediction, place: int, image_format: str) -> bytes:
        width, height = picture_size(prediction.model.effective(prediction.input))
        return await run_in_threadpool(
            self.draw,
            prompt=str(prediction.input.get("prompt", "")),
            model=prediction.model.id,
            seed=prediction.seed + place,
            width=width,
            height=height,
            image_format=image_format,
        )


def _second(request: Request, active: frozenset[str], faults: Faults) -> Response | None:
    """The answer for the second of several files, where a fault concerns that one only."""
    if "second-foreign" in active:
        return Response(b"\0\0\0\x1cftypavif" + bytes(100), media_type="image/avif")
    if "second-missing" in active:
        raise HTTPException(404)
    if "second-json" in active:
        return JSONResponse({"seed": 7})
    busy = "second-busy" in active and faults.happens_again(str(request.url), "second-busy")
    if busy or "second-down" in active:
        return Response("Service Unavailable", 503)
    return None


async def _endless_bytes() -> AsyncIterator[bytes]:
    while True:
        yield bytes(64 * 1024)
        await asyncio.sleep(
            0
        )  # yield to the event loop: the server must notice that the client has disconnected
