"""``make demo``: a picture end to end, through the public API with the real supabase client.

Starts the local stack, makes the picture as a new user, follows it by Realtime, prints its path and the time of each
step, stops the stack.
Environment: PROMPT, MODEL. The first line says whether the sandbox or Replicate draws the picture.
"""

import asyncio
import itertools
import os
import secrets
import sys
import time
from typing import Any
from uuid import uuid4

import httpx
from realtime.types import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates
from supabase import AsyncClient, acreate_client
from supabase_auth.errors import AuthError
from supabase_functions.errors import FunctionsError

from functions._local.defaults import address_of, uses_sandbox
from functions._shared.settings import Settings, read_environment
from scripts.interrupts import interruptible
from scripts.postgres import StartError
from scripts.stack import local_stack

TERMINAL = ("completed", "failed", "cancelled")
POLL_S = 0.01
Changes = asyncio.Queue[Any]
"""Payloads of ``postgres_changes``."""


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
            prompt, model = os.environ.get("PROMPT", ""), os.environ.get("MODEL", "")
            make_picture(settings, prompt, model)
    except (StartError, DemoError) as error:
        print(f"No picture: {error}", file=sys.stderr)
        return 1
    print(f"Everything stopped. {time.monotonic() - started:.2f} s in all.")
    return 0


def make_picture(settings: Settings, prompt: str, model: str) -> None:
    """Request a picture, print its progress, save the file and print its path. Raises DemoError."""
    generation, progress = asyncio.run(generated(settings, prompt, model))
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


async def generated(
    settings: Settings, prompt: str, model: str
) -> tuple[dict[str, Any], "Progress"]:
    """The ended generation with its images, and when it had which status. Raises DemoError."""
    anon_key = settings.supabase_anon_key
    assert anon_key is not None
    address = address_of(settings.edge_host, settings.edge_port)
    client = await acreate_client(address, anon_key.get_secret_value())
    body = {
        "prompt": prompt or "a lighthouse at dawn, watercolour",
        "model_id": model or "black-forest-labs/flux-schnell",
        "width": 1024,
        "height": 1024,
    }
    changes = await subscribed(client, settings)
    print(f'supabase.functions.invoke("start-generation", {body})')
    progress = Progress()
    answer = await invoke(client, "start-generation", {"body": body})
    progress.note(answer["status"])
    try:
        async with asyncio.timeout(settings.job_timeout_ms / 1000):
            generation = await follow(client, answer["generation_id"], progress, changes)
    except TimeoutError:
        raise DemoError(f"no end after {settings.job_timeout_ms / 1000:.0f} s") from None
    await client.remove_all_channels()
    return generation, progress


async def subscribed(client: AsyncClient, settings: Settings) -> Changes | None:
    """The changes of a new user's generations, as Realtime sends them; None, and a word why, where there are none.

    Subscribed before the picture is asked for: the first status counts.
    """
    if not {"auth", "realtime"} <= settings.serve:
        print("The status is polled: auth and realtime are not both served here (SERVE).")
        return None
    email, password = f"demo+{uuid4()}@example.com", secrets.token_urlsafe()
    try:
        session = (await client.auth.sign_up({"email": email, "password": password})).session
    except AuthError as error:
        print(f"The status is polled: no account for the demo ({error}).")
        return None
    if session is None:
        print("The status is polled: a new account has to be confirmed by mail.")
        return None
    await client.realtime.set_auth(session.access_token)
    changes: Changes = asyncio.Queue()
    channel = client.channel("demo").on_postgres_changes(
        RealtimePostgresChangesListenEvent.All,
        changes.put_nowait,
        table="image_generations",
        schema="public",
        filter=f"user_id=eq.{session.user.id}",
    )
    answered: list[RealtimeSubscribeStates] = []
    await channel.subscribe(lambda state, _: answered.append(state))
    if answered[0] != RealtimeSubscribeStates.SUBSCRIBED:
        print(f"The status is polled: Realtime answered {answered[0]}.")
        return None
    return changes


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
        """Print the duration of each step; a status that was not seen has no line."""
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


async def follow(
    client: AsyncClient, generation_id: str, progress: Progress, changes: Changes | None
) -> dict[str, Any]:
    """The generation with its images, once it has a terminal status. Raises DemoError."""
    while changes is not None:
        change = (await changes.get())["data"]
        progress.note(change["record"]["status"])
        if change["record"]["status"] in TERMINAL:
            break
    while True:
        generation = await invoke(client, f"start-generation/{generation_id}", {"method": "GET"})
        progress.note(generation["status"])
        if generation["status"] in TERMINAL:
            return generation
        await asyncio.sleep(POLL_S)


async def invoke(client: AsyncClient, function: str, options: dict[str, Any]) -> dict[str, Any]:
    """Call an Edge Function; returns its JSON body. Raises DemoError with the error's message."""
    try:
        answer: Any = await client.functions.invoke(function, {**options, "responseType": "json"})
    except FunctionsError as error:
        raise DemoError(error.message) from None
    return dict(answer)


if __name__ == "__main__":
    raise SystemExit(interruptible(demo))
