"""The observed history outside the database, and the invariants checked against it."""

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from functions._local.sandbox.app import Sandbox

ORDER = ("pending", "queued", "processing", "downloading", "completed", "failed", "cancelled")
TERMINAL = frozenset(ORDER[4:])
POLL_S = 0.1


@dataclass
class History:
    """What clients and watcher observed. A prompt identifies a request: each is sent once."""

    sent: set[str] = field(default_factory=set)
    accepted_ids: dict[str, str] = field(default_factory=dict)
    """Prompt → the generation_id in the client's response."""
    statuses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Generation id → the statuses observed, in order, without repetitions."""

    def asked(self, prompt: str) -> None:
        self.sent.add(prompt)

    def accepted(self, prompt: str, generation_id: str) -> None:
        self.accepted_ids[prompt] = generation_id

    def saw(self, generation_id: str, status: str) -> None:
        seen = self.statuses[generation_id]
        if not seen or seen[-1] != status:
            seen.append(status)


class Watcher(threading.Thread):
    """Polls the statuses on a direct connection (not through the proxy), whenever PostgreSQL is up."""

    def __init__(self, url: str, history: History) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._history = history
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    while not self._stopping.wait(POLL_S):
                        for row in connection.execute(
                            "select id::text, status from public.image_generations"
                        ).fetchall():
                            self._history.saw(*row)
            except psycopg.Error:
                self._stopping.wait(POLL_S)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@dataclass(frozen=True)
class Verdict:
    """The report of a run. ``counts`` ends with the number of violations of each invariant: 0 expected."""

    counts: Mapping[str, int]
    broken: Mapping[str, list[str]]
    """Invariant → a line for each violation."""
    failures: Mapping[str, int]
    """Error message of failed generations → how many."""


def judge(history: History, rows: list[dict[str, Any]], paid: Mapping[str, list[str]]) -> Verdict:
    """Check the invariants. ``rows``: see ``generations``; ``paid``: see ``paid_by``."""
    by_prompt = defaultdict(list)
    for row in rows:
        by_prompt[row["prompt"]].append(row)
    accepted = history.accepted_ids
    ids = {str(row["id"]) for row in rows}
    broken = {
        "lost": [
            *(
                f"{prompt}: no row"
                for prompt, generation_id in accepted.items()
                if generation_id not in ids
            ),
            *(
                f"{row['prompt']}: still {row['status']}"
                for row in rows
                if row["status"] not in TERMINAL
            ),
        ],
        "stored twice": [
            f"{row['prompt']}: {row['images']} images, {row['status']}"
            for row in rows
            if row["images"] != (row["status"] == "completed")
        ],
        "paid twice": [
            f"{prompt}: {ends}"
            for prompt, ends in paid.items()
            if ends.count("succeeded") > len(by_prompt[prompt])
        ],
        "failed for a death": [
            f"{row['prompt']}: {row['error_message']}"
            for row in rows
            if row["status"] == "failed"
            and "The worker stopped answering" in str(row["error_message"])
        ],
        "statuses going backwards": [
            f"{generation_id}: {' → '.join(seen)}"
            for generation_id, seen in history.statuses.items()
            if not _is_monotonic(seen)
        ],
    }
    statuses = Counter(row["status"] for row in rows)
    failures = Counter(row["error_message"] for row in rows if row["status"] == "failed")
    counts = {
        "sent": len(history.sent),
        "accepted": len(rows),
        "of which the client heard": len(accepted),
        "completed": statuses["completed"],
        "failed": statuses["failed"],
        "predictions made": sum(len(ends) for ends in paid.values()),
        **{name: len(cases) for name, cases in broken.items()},
    }
    return Verdict(counts, broken, failures)


def _is_monotonic(seen: list[str]) -> bool:
    """Whether the statuses only advance, and none follows a terminal status."""
    places = [ORDER.index(status) for status in seen]
    return places == sorted(places) and all(status not in TERMINAL for status in seen[:-1])


def generations(url: str) -> list[dict[str, Any]]:
    """All generations: id, prompt, status, error_message, and ``images``, the number of stored images."""
    with psycopg.connect(url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select id, prompt, status, error_message,"
            " (select count(*) from public.images where generation_id = generation.id) as images"
            " from public.image_generations as generation"
        ).fetchall()


def paid_by(sandbox: Sandbox) -> dict[str, list[str]]:
    """Prompt → the statuses of its predictions, as the provider has them."""
    paid = defaultdict(list)
    for prediction in sandbox.predictions.values():
        paid[prediction.input["prompt"]].append(prediction.status)
    return paid
