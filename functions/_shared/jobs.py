"""A claimed job, the length of its lease, and the inbox of this process's worker."""

import asyncio
import os
import socket
import uuid
from typing import Any, NamedTuple
from uuid import UUID

LEASE_S = 10
"""How long a worker may be silent before its jobs go to another worker; every lease is renewed at a third of it."""


class Job(NamedTuple):
    """A claimed job, a row as it is read. ``lease_token`` is the fencing token that every write about it carries."""

    id: UUID
    job_type: str
    payload: dict[str, Any]
    attempt_number: int
    max_attempts: int
    lease_token: int


class WorkerInbox:
    """Wake-ups and claimed jobs for the worker of this process.

    A passive object, made before the worker: handlers, poller and webhook write to it, only the worker reads it. In a
    process without a worker ``free_slots`` stays 0: no job is handed over, and jobs wait in the queue.
    """

    def __init__(self) -> None:
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """Unique per start: after a crash the host name is reused, and a dead process's jobs must not seem ours."""
        self.free_slots = 0
        """How many jobs the worker could begin now; kept up to date by its Slots."""
        self.woken = asyncio.Event()
        self.handed_over: asyncio.Queue[Job] = asyncio.Queue()

    def wake(self) -> None:
        """Have the worker claim now; idempotent, and cheap when there is no job."""
        self.woken.set()

    def with_room(self) -> str | None:
        """The worker id to claim a job under that is then handed to ``take``; None while no slot is free for it."""
        return self.worker_id if self.free_slots > 0 else None

    def take(self, job: Job) -> None:
        """Hand over a job that was claimed under ``worker_id``: the worker starts it at once, or releases it."""
        self.handed_over.put_nowait(job)
