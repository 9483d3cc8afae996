"""``make demo``: a picture end to end, through the public API with the real supabase client.

Starts the local stack, makes the picture, prints its path and the time of each step, stops the stack.
Environment: PROMPT, MODEL. The first line says whether the sandbox or Replicate draws the picture.
"""

import itertools
import os
import sys
import time
from typing import Any

import httpx
from supabase import Client, create_client
from supabase_functions.errors import FunctionsError

from functions._local.defaults import address_of, uses_sandbox
from functions._shared.settings import Settings, read_environment
from scripts.interrupts import interruptible
from scripts.postgres import StartError
from scripts.stack import local_stack

TERMINAL = ("completed", "failed", "cancelled")
POLL_S = 0.01


class DemoError(Exception):
    """The demo failed to make a picture; the text is the reason."""


def demo() -> int:
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
    print(f"Everything stopped. {time.monotonic() - started:.2f} s in all.")
    return 0


def make_picture(settings: Settings, prompt: str, model: str) -> None:
    """Request a picture, print its progress, save the file and print its path. Raises DemoError."""
    anon_key = settings.supabase_anon_key
    assert anon_key is not None
    client = create_client(
        address_of(settings.edge_host, settings.edge_port), anon_key.get_secret_value()
    )
    body = {
        "prompt": prompt or "a lighthouse at dawn, watercolour",
        "model_id": model or "black-forest-labs/flux-schnell",
        "width": 1024,
        "height": 1024,
    }
    print(f'supabase.functions.invoke("start-generation", {body})')
    progress = Progress()
    answer = invoke(client, "start-generation", {"body": body})
    progress.note(answer["status"])
    generation = follow(client, answer["generation_id"], progress, settings.job_timeout_ms / 1000)
    if generation["status"] != "completed":
        raise DemoError(f"{generation['status']}: {generation['error_message']}")
    image = generation["images"][0]
    downloaded = httpx.get(image["public_url"]).raise_for_status()
    file = settings.edge_data_dir / "demo" / image["filename"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(downloaded.content)

    progress.print_times()
    print(f"Picture  {file}")
    print(
        f"         {image['width']} x {image['height']} {image['format']}, {image['file_size']:,} bytes"
    )
    print(f"         {image['public_url']}")


class Progress:
    """The statuses seen so far, each with the monotonic time of its first sight; prints them live."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seen: dict[str, float] = {}
        self._live = sys.stdout.isatty()

    def note(self, status: str) -> None:
        if status not in self.seen:
            self.seen[status] = time.monotonic()
            line = " → ".join(self.seen)
            print(f"\r{line}" if self._live else line, end="" if self._live else "\n", flush=True)
        if self._live and status in TERMINAL:
            print()

    def print_times(self) -> None:
        """Print the duration of each step; a status that no poll saw has no line."""
        steps = list(self.seen.items())
        print(
            f"{'answer':>12}  {_ms(self.began, steps[0][1])}   start-generation has returned the id"
        )
        for (step, since), (_, until) in itertools.pairwise(steps):
            print(f"{step:>12}  {_ms(since, until)}")
        print(
            f"{'in all':>12}  {_ms(self.began, steps[-1][1])}   from the call to the stored picture"
        )


def _ms(since: float, until: float) -> str:
    return f"{(until - since) * 1000:7.1f} ms"


def follow(
    client: Client, generation_id: str, progress: Progress, timeout_s: float
) -> dict[str, Any]:
    """Poll the generation until it has a terminal status, and return it. Raises DemoError."""
    while True:
        generation = invoke(client, f"start-generation/{generation_id}", {"method": "GET"})
        progress.note(generation["status"])
        if generation["status"] in TERMINAL:
            return generation
        if time.monotonic() - progress.began > timeout_s:
            raise DemoError(f"still {generation['status']} after {timeout_s:.0f} s")
        time.sleep(POLL_S)


def invoke(client: Client, function: str, options: dict[str, Any]) -> dict[str, Any]:
    """Call an Edge Function; returns its JSON body. Raises DemoError with the error's message."""
    try:
        answer: Any = client.functions.invoke(function, {**options, "responseType": "json"})
    except FunctionsError as error:
        raise DemoError(error.message) from None
    return dict(answer)


if __name__ == "__main__":
    raise SystemExit(interruptible(demo))
