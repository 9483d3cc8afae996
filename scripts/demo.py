"""``make demo``: a picture through the public API, with the real supabase client, on a stack made for it.

PROMPT and MODEL choose what to draw. The first line says whether the sandbox or Replicate draws it.
"""

import itertools
import os
import sys
import time
from typing import Any

import httpx
from supabase import Client, create_client
from supabase_functions.errors import FunctionsError

from functions._local.defaults import uses_sandbox
from functions._shared.settings import Settings, read_environment
from scripts.postgres import StartError
from scripts.stack import local_stack
from scripts.up import catch_signals

STEPS = ("queued", "processing", "downloading", "completed")
POLL_S = 0.01


class DemoError(Exception):
    """No picture came of it; the text says why."""


def demo() -> int:
    catch_signals()
    environ = {"LOG_LEVEL": "WARNING", **read_environment()}
    started = time.monotonic()
    print(
        "Pictures by the SANDBOX: drawn on this machine, no model involved. Set REPLICATE_API_TOKEN for real ones."
        if uses_sandbox(environ)
        else "Pictures by Replicate, on the account of your REPLICATE_API_TOKEN."
    )
    try:
        with local_stack(environ) as settings:
            print(f"Stack up in {time.monotonic() - started:.2f} s: PostgreSQL, gateway, worker.")
            make_picture(settings, os.environ.get("PROMPT", ""), os.environ.get("MODEL", ""))
    except (StartError, DemoError) as error:
        print(f"No picture: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    print(f"Everything stopped. {time.monotonic() - started:.2f} s in all.")
    return 0


def make_picture(settings: Settings, prompt: str, model: str) -> None:
    """Ask for a picture, show how it comes along, save it and say where. Raises DemoError."""
    anon_key = settings.supabase_anon_key
    assert anon_key is not None
    client = create_client(f"http://127.0.0.1:{settings.edge_port}", anon_key.get_secret_value())
    body = {
        "prompt": prompt or "a lighthouse at dawn, watercolour",
        "model_id": model or "black-forest-labs/flux-schnell",
        "width": 1024,
        "height": 1024,
    }
    print(f'supabase.functions.invoke("start-generation", {body})')
    asked = time.monotonic()
    generation_id = invoke(client, "start-generation", {"body": body})["generation_id"]
    answered = time.monotonic()
    generation, seen = follow(client, generation_id, settings.job_timeout_ms / 1000)
    if generation["status"] != "completed":
        raise DemoError(f"{generation['status']}: {generation['error_message']}")
    image = generation["images"][0]
    downloaded = httpx.get(image["public_url"]).raise_for_status()
    file = settings.edge_data_dir / "demo" / image["filename"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(downloaded.content)

    print_times(asked, answered, seen)
    print(f"Picture  {file}")
    print(
        f"         {image['width']} x {image['height']} {image['format']}, {image['file_size']:,} bytes"
    )
    print(f"         {image['public_url']}")


def follow(
    client: Client, generation_id: str, timeout_s: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """Read the generation until it has ended; returns it, and when each status was first seen (monotonic seconds)."""
    seen: dict[str, float] = {}
    live = sys.stdout.isatty()
    while True:
        generation = invoke(client, f"start-generation/{generation_id}", {"method": "GET"})
        if generation["status"] not in seen:
            seen[generation["status"]] = time.monotonic()
            line = " → ".join(step for step in (*STEPS, "failed", "cancelled") if step in seen)
            print(f"\r{line}" if live else line, end="" if live else "\n", flush=True)
        if generation["status"] in {"completed", "failed", "cancelled"}:
            print() if live else None
            return generation, seen
        if time.monotonic() - min(seen.values()) > timeout_s:
            raise DemoError(f"still {generation['status']} after {timeout_s:.0f} s")
        time.sleep(POLL_S)


def print_times(asked: float, answered: float, seen: dict[str, float]) -> None:
    """One line a step, from when it was seen to when the next was; a step too short to be seen has none."""
    print(
        f"{'answer':>12}  {(answered - asked) * 1000:7.1f} ms   start-generation returned the generation_id"
    )
    steps = [step for step in STEPS if step in seen]
    for step, after in itertools.pairwise(steps):
        print(f"{step:>12}  {(seen[after] - seen[step]) * 1000:7.1f} ms")
    print(
        f"{'in all':>12}  {(seen['completed'] - asked) * 1000:7.1f} ms   from the call to the stored picture"
    )


def invoke(client: Client, function: str, options: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: Any = client.functions.invoke(function, {**options, "responseType": "json"})
    except FunctionsError as error:
        raise DemoError(error.message) from None
    return dict(answer)


if __name__ == "__main__":
    raise SystemExit(demo())
