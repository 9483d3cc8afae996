"""Values of the wrong type or size in a prediction's object, as no provider means them and some have sent them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse, StreamingResponse

DEPTH = 3000
_DEEP = "[the depth of a well]"
_FILES = 100_000

ABSURD: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "absurd-metrics": lambda _: {"metrics": {"predict_time": 1e308, "total_time": 1e308}},
    "negative-metrics": lambda _: {"metrics": {"predict_time": -1, "total_time": float("nan")}},
    "text-metrics": lambda _: {"metrics": {"predict_time": "xxxxxxxxxx", "total_time": [2]}},
    "no-metrics": lambda _: {"metrics": ["predict_time"]},
    "list-status": lambda shown: {"status": [shown["status"]]},
    "nul-error": lambda _: {"error": "the model\0 broke"},
    "surrogate-error": lambda _: {"error": "the model\ud83d broke"},
    "object-error": lambda _: {"error": {"message": "CUDA out of memory", "code": "E1001"}},
    "deep-output": lambda shown: {"output": [shown["output"], _DEEP]},
    "many-outputs": lambda shown: {"output": [shown["output"], *["https://x.invalid/x"] * _FILES]},
    "nul-output": lambda _: {"output": ["https://x.invalid/\0.png", "https://x.invalid/\ud83d"]},
    "odd-fields": lambda _: {
        "logs": ["100%"],
        "input": "none",
        "model": {"name": "\0"},
        "version": 7,
        "urls": None,
        "created_at": -1,
        "webhook": "http://[",
        "data_removed": "no",
    },
    "path-id": lambda _: {"id": "../account"},
    "other-id": lambda _: {"id": "0123456789"},
    "no-object": lambda _: {},
}
"""By the fault's name: what stands in place of the fields, once the prediction has ended."""
FAILING = frozenset({"nul-error", "surrogate-error", "object-error"})
SLOW = frozenset({"endless-answer", "dripping-answer"})
"""How the question for the prediction is answered, ended or not."""


class Written(JSONResponse):
    """JSON in ASCII, so that it can hold what is no text, no number, or too deep for Python's own writer."""

    def render(self, content: Any) -> bytes:
        return written(content).encode()


def written(content: Any) -> str:
    return json.dumps(content).replace(f'"{_DEEP}"', "[" * DEPTH + "]" * DEPTH)


def distorted(shown: dict[str, Any], faults: frozenset[str]) -> Any:
    """The object as ``faults`` have it; a list in place of it for ``no-object``."""
    for name in sorted(faults & ABSURD.keys()):
        shown = {**shown, **ABSURD[name](shown)}
    return [shown] if "no-object" in faults else shown


def slow_answer(faults: frozenset[str], counted: Callable[[int], None]) -> StreamingResponse | None:
    """An answer that does not end: as fast as it is taken, or a byte now and then. ``counted``: bytes handed out."""
    if not faults & SLOW:
        return None
    piece, pause_s = (b"x" * 65_536, 0.0) if "endless-answer" in faults else (b"x", 0.02)

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"error": "'
        while True:
            counted(len(piece))
            yield piece
            await asyncio.sleep(pause_s)

    return StreamingResponse(pieces(), media_type="application/json")
