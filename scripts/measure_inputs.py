"""Measure the inputs: what share the models' own schemas accept (valid), and what share means what was asked (meant).

    python -m scripts.measure_inputs [CATALOGUE]

Valid: the shipped schemas × a grid (every pair of sides from 64 to 4096 in steps of 64 and some odd sides; the extremes
of every other field; random combinations), and every text-to-image model of the public catalogue × a smaller one. The
oracle is jsonschema on the unmodified schema with additionalProperties refused, independent of the code under test.
Meant: 300 models of that catalogue, see ``meant.py``. CATALOGUE is the folder of the npm package
all-the-public-replicate-models; without it the one that the tests install, if it is there.

Exit code: 0 if every input was accepted and meant; models that no request can use are counted apart.
"""

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.image_models.catalog import CATALOG, ImageModel, model_from_schema
from functions.process_generation.inputs import build_input
from scripts.meant import FULL, Verdict, read_judgement, verdicts
from scripts.public_catalogue import INSTALLED, PublicModel, read_catalogue, text_to_image

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


def small_grid() -> Iterator[dict[str, Any]]:
    """Yield the fields of some requests: none, a full one, the extremes of each field, a few sizes."""
    yield {}
    yield FULL
    for size in ((2000, 500), (512, 512), (65, 4096)):
        yield dict(zip(("width", "height"), size, strict=True))
    for name, values in EXTREMES.items():
        yield from ({**FULL, name: value} for value in values[1:4])
    yield {name: value for name, value in FULL.items() if name not in {"width", "height"}} | {
        "aspect_ratio": "21:9"
    }


def measure(
    model: ImageModel, schema: Any, *, step: int = STEP, combinations: int = COMBINATIONS
) -> Tally:
    """Build an input for every request of the grid, and validate each against ``schema``."""
    closed = {**schema, "additionalProperties": False}
    return measure_requests(model, closed, grid(step, combinations))


def measure_public(public: PublicModel) -> Tally:
    """The same for a model of the public catalogue and the small grid."""
    model_id = f"public/{public.name.replace('/', '--')}"  # no row of the catalogue shall apply
    model = model_from_schema(model_id, public.document)
    return measure_requests(model, public.closed_schema, small_grid())


def measure_requests(model: ImageModel, closed: Any, requests: Iterable[dict[str, Any]]) -> Tally:
    """``closed``: the schema as its author wrote it, unknown keys refused."""
    judge = Draft202012Validator(closed)
    tally = Tally()
    for fields in requests:
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


def all_verdicts(catalogue: Path) -> list[Verdict]:
    """The verdicts on all judged models."""
    models = read_catalogue(catalogue)
    return [
        verdict
        for name, judged in read_judgement().items()
        for verdict in verdicts(models[name], judged["fields"])
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("catalogue", nargs="?", type=Path, default=INSTALLED)
    catalogue: Path = parser.parse_args(arguments).catalogue
    good = print_shipped()
    if not catalogue.exists():
        print(f"the public catalogue is not measured: {catalogue} is not there")
        return 0 if good else 1
    good = print_public(catalogue) and good
    return 0 if print_meant(catalogue) and good else 1


def print_shipped() -> bool:
    """Print the measure valid of each shipped schema; returns whether all inputs were accepted."""
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
    print(
        f"shipped: {len(CATALOG) - refused} models, {total.requests:,} requests:"
        f" {total.accepted / total.requests:.2%} valid; {refused} model refused by name;"
        f" {time.monotonic() - began:.0f} s"
    )
    return total.accepted == total.requests


def print_public(catalogue: Path) -> bool:
    """Print the measure valid of the public catalogue, and each model that failed; returns whether none did."""
    total, models, refused, began = Tally(), 0, 0, time.monotonic()
    for public in text_to_image(catalogue):
        tally = measure_public(public)
        models += 1
        refused += tally.refused == tally.requests
        total.requests += tally.requests - tally.refused
        total.accepted += tally.accepted
        if tally.accepted + tally.refused != tally.requests:
            print(f"{public.name}: {tally.wrong}")
    print(
        f"public: {models:,} text-to-image models, {total.requests:,} requests:"
        f" {total.accepted / total.requests:.2%} valid; {refused} models ask for what only input carries;"
        f" {time.monotonic() - began:.0f} s"
    )
    return total.accepted == total.requests


def print_meant(catalogue: Path) -> bool:
    """Print the measure meant, and each field that is missed; returns whether none is."""
    found = all_verdicts(catalogue)
    missed = [verdict for verdict in found if verdict.wrong]
    for verdict in missed:
        print(f"{verdict.model}: {verdict.field}: {verdict.wrong}")
    models = len(read_judgement())
    share = 1 - len(missed) / len(found)
    print(
        f"meant: {models} models, {len(found):,} fields: {share:.2%} under a key that means them, or noted"
    )
    return not missed


if __name__ == "__main__":
    sys.exit(main())
