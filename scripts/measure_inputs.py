"""Measure the share of requests whose input the model's own schema accepts: all schemas × a grid.

    python -m scripts.measure_inputs

Grid: every pair of sides from 64 to 4096 in steps of 64 and some odd sides; the extremes of every other field; random
combinations. The oracle is jsonschema on the unmodified schema file with additionalProperties refused, independent of
the code under test. Exit code: 0 if every input was accepted; models that no request can use are counted apart.
"""

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import CATALOG, ImageModel
from functions.process_generation.inputs import build_input

PICTURE = "https://example.com/a.png"
STEP = 64
ODD_SIDES = (65, 97, 255, 499, 577, 768 + 1, 1023, 1025, 1151, 1366, 1919, 2047, 3001, 4095)
EXTREMES: dict[str, tuple[Any, ...]] = {
    "aspect_ratio": (None, "1:1", "16:9", "1.91:1", "21:9", "1:50", "9999:1"),
    "negative_prompt": (None, "", "dogs", "x" * 10_000),
    "num_inference_steps": (None, 1, 30, 1000),
    "guidance_scale": (None, 0.0, 0.1, 7.5, 100.0),
    "seed": (None, 0, 1, -1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63)),
    "num_outputs": (None, 1, 2, 16),
    "source_image_url": (None, PICTURE),
    "strength": (None, 0.0, 0.35, 1.0),
    "style": (None, "realistic_image", "vector_illustration", "Auto", "no such style"),
    "output_format": (None, "webp", "png", "jpg", "jpeg", "svg"),
}
COMBINATIONS = 400
"""Random combinations of the extremes for each model; the seed is fixed, so every run has the same."""


@dataclass
class Tally:
    """Counts of one model's requests; ``wrong`` is the last failure: a refusal's text or an invalid input."""

    requests: int = 0
    accepted: int = 0
    refused: int = 0
    adjusted: int = 0
    wrong: str = ""


def raw_schemas() -> dict[str, Any]:
    """owner/name → the Input schema, unmodified."""
    folder = resources.files("functions._shared.image_models").joinpath("schemas")
    documents = [
        json.loads(file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".json")
    ]
    return {data["model"]: data["input"] for data in documents}


def grid(step: int, combinations: int) -> Iterator[dict[str, Any]]:
    """Yield the fields of each request, without model_id and mostly without prompt."""
    sides = [*range(64, 4097, step), *ODD_SIDES]
    for width, height in itertools.product(sides, sides):
        yield {"width": width, "height": height}
    for side in sides:
        yield {"width": side}
        yield {"height": side, "aspect_ratio": "16:9"}
    for name, values in EXTREMES.items():
        for value in values:
            yield {name: value}
            yield {name: value, "source_image_url": PICTURE}
    rng = random.Random(0)  # noqa: S311 - reproducible
    for _ in range(combinations):
        drawn = {name: rng.choice(values) for name, values in EXTREMES.items()}
        size = {side: rng.choice([None, *sides]) for side in ("width", "height")}
        yield {**drawn, **size, "prompt": rng.choice(["a fox", "x" * 10_000])}


def measure(
    model: ImageModel, schema: Any, *, step: int = STEP, combinations: int = COMBINATIONS
) -> Tally:
    """Build an input for every request of the grid, and validate each against ``schema``."""
    judge = Draft202012Validator({**schema, "additionalProperties": False})
    tally = Tally()
    for fields in grid(step, combinations):
        request = GenerationRequest.model_validate(
            {"prompt": "a fox", "model_id": model.replicate_id, **fields}
        )
        tally.requests += 1
        try:
            built = build_input(request, model)
        except InvalidRequest as error:
            tally.refused += 1
            tally.wrong = str(error)
            continue
        tally.adjusted += bool(built.adjustments)
        if judge.is_valid(built.input):
            tally.accepted += 1
        else:
            tally.wrong = f"{fields}: {built.input}"
    return tally


def main() -> int:
    total, refused, began = Tally(), 0, time.monotonic()
    for model_id, schema in sorted(raw_schemas().items()):
        tally = measure(CATALOG[model_id], schema)
        share, adjusted = tally.accepted / tally.requests, tally.adjusted / tally.requests
        print(
            f"{model_id:45} {tally.requests:6,} {share:8.2%} accepted {adjusted:7.1%} adjusted"
            f"  {tally.wrong}".rstrip()
        )
        if tally.refused == tally.requests:
            refused += 1
            continue
        total.requests += tally.requests
        total.accepted += tally.accepted
    seconds = time.monotonic() - began
    print(
        f"{len(CATALOG) - refused} models, {total.requests:,} requests: {total.accepted / total.requests:.2%}"
        f" accepted; {refused} model refused by name; {seconds:.0f} s"
    )
    return 0 if total.accepted == total.requests else 1


if __name__ == "__main__":
    sys.exit(main())
