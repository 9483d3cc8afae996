"""A claimed job, and what the other parts of a process may ask of its worker."""

from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. ``lease_token`` is the fencing token that every write about it carries."""

    id: UUID
    job_type: str
    payload: dict[str, Any]
    attempt_number: int
    max_attempts: int
    lease_token: int


class LocalWorker(Protocol):
    """The worker of this process."""

    @property
    def lease_s(self) -> float:
        """Seconds of a lease, for a job that is claimed under the worker's id."""
        ...

    def wake(self) -> None:
        """Look for jobs now; costs nothing when there are none."""

    def with_room(self) -> str | None:
        """The id to claim a job under that is then handed to ``take``; None while it has no slot for one."""

    def take(self, job: Job) -> None:
        """Run a job that was claimed under its id."""


class NoWorker:
    """Where no worker runs: jobs wait in the queue."""

    lease_s = 0.0

    def wake(self) -> None:
        pass

    def with_room(self) -> str | None:
        return None

    def take(self, job: Job) -> None:
        raise AssertionError("there is no room")
