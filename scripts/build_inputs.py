"""Build provider inputs without sending them (dry run): JSON lines in, JSON lines out.

    python -m scripts.build_inputs [FILE]

Each line in is ``{"model_id": ..., "request": {...}, "schema": {...}}``: ``request`` is the body of a
generation (``model_id`` optional), ``schema`` optionally replaces the catalogue's. Each line out is
``{"input": ..., "adjustments": [...]}`` or ``{"error": ...}``. Exit code: 0 if every line gave an
input, else 1.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__" and not __package__:  # run by its path: the project is not on sys.path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import (
    ImageModel,
    find_model,
    model_from_schema,
    unknown_model,
)
from functions._shared.web.bodies import validate
from functions.process_generation.inputs import build_input


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="JSON lines; without it, standard input")
    file: Path | None = parser.parse_args(arguments).file
    if file is None:
        return print_answers(sys.stdin.buffer)
    try:
        with file.open("rb") as lines:
            return print_answers(lines)
    except OSError as error:
        parser.error(f"cannot read {file}: {error.strerror}")


def print_answers(lines: Iterable[bytes]) -> int:
    """Print one answer for each line that is not blank; returns the exit code."""
    failures = 0
    for line in lines:
        if line.strip():
            answer = answer_to(line)
            failures += "error" in answer
            print(json.dumps(answer, allow_nan=False), flush=True)
    return 1 if failures else 0


def answer_to(line: bytes) -> dict[str, Any]:
    """The answer to one line of input; an invalid line gives ``{"error": ...}``, nothing is raised."""
    try:
        task = json.loads(line, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return {"error": "The line is not valid JSON"}
    try:
        return _built(task)
    except InvalidRequest as error:
        return {"error": str(error)}


def _built(task: Any) -> dict[str, Any]:
    if not isinstance(task, dict) or not isinstance(task.get("request"), dict):
        raise InvalidRequest("The line must be an object with model_id and request")
    request = task["request"]
    model_id = task.get("model_id", request.get("model_id"))
    body = validate(GenerationRequest, {**request, "model_id": model_id})
    built = build_input(body, _model(body.model_id, task.get("schema")))
    return {"input": built.input, "adjustments": list(built.adjustments)}


def _model(model_id: str, schema: object) -> ImageModel:
    if schema is not None:
        return model_from_schema(model_id, schema)
    model = find_model(model_id)
    if model is None:
        raise unknown_model(model_id)
    return model


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is too large")
    return number


if __name__ == "__main__":
    sys.exit(main())
