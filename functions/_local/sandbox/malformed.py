"""Malformed provider answers: prediction fields of wrong type or size, bodies without an end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse, StreamingResponse

DEPTH = 3000
_DEEP = "[the depth of a well]"
_MANY_FILES = 100_000

MALFORMED: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "absurd-metrics": lambda _: {"metrics": {"predict_time": 1e308, "total_time": 1e308}},
    "negative-metrics": lambda _: {"metrics": {"predict_time": -1, "total_time": float("nan")}},
    "text-metrics": lambda _: {"metrics": {"predict_time": "xxxxxxxxxx", "total_time": [2]}},
    "no-metrics": lambda _: {"metrics": ["predict_time"]},
    "list-status": lambda shown: {"status": [shown["status"]]},
    "nul-error": lambda _: {"error": "the model\0 broke"},
    "surrogate-error": lambda _: {"error": "the model\ud83d broke"},
    "object-error": lambda _: {"error": {"message": "CUDA out of memory", "code": "E1001"}},
    "deep-output": lambda shown: {"output": [shown["output"], _DEEP]},
    "many-outputs": lambda shown: {
        "output": [shown["output"], *["https://x.invalid/x"] * _MANY_FILES]
    },
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
"""Fault name → the fields that it overwrites, once the prediction has a terminal status."""
FAILING = frozenset({"nul-error", "surrogate-error", "object-error"})
"""The malformed values that belong to a failed prediction."""
UNENDING = frozenset({"endless-answer", "dripping-answer"})
"""Response bodies without an end to ``GET /predictions/{id}``, whatever the prediction's status."""


class AsciiJSONResponse(JSONResponse):
    """ASCII-only JSON: can carry lone surrogates, NaN, and nesting too deep for Python's own encoder."""

    def render(self, content: Any) -> bytes:
        return to_ascii_json(content).encode()


def to_ascii_json(content: Any) -> str:
    """``content`` as JSON with escapes only; the marker of deep-output becomes ``DEPTH`` nested lists."""
    return json.dumps(content).replace(f'"{_DEEP}"', "[" * DEPTH + "]" * DEPTH)


def with_malformed_values(shown: dict[str, Any], faults: frozenset[str]) -> Any:
    """``shown`` with the fields that ``faults`` overwrite; for ``no-object`` a list instead of an object."""
    for name in sorted(faults & MALFORMED.keys()):
        shown = {**shown, **MALFORMED[name](shown)}
    return [shown] if "no-object" in faults else shown


def endless_response(
    faults: frozenset[str], counted: Callable[[int], None]
) -> StreamingResponse | None:
    """A response body without an end, if ``faults`` ask for one: a fast stream or a slow drip.

    ``counted`` is called with the size of each chunk before it is sent.
    """
    if not faults & UNENDING:
        return None
    piece, pause_s = (b"x" * 65_536, 0.0) if "endless-answer" in faults else (b"x", 0.02)

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"error": "'
        while True:
            counted(len(piece))
            yield piece
            await asyncio.sleep(pause_s)

    return StreamingResponse(pieces(), media_type="application/json")
