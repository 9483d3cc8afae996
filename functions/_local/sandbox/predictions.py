"""One prediction of the sandbox: how far it is by the clock, and how the API tells it."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from functions._local.sandbox.models import Model

STARTING_SHARE = 0.2  # of the whole time; the rest is the run


@dataclass(kw_only=True)
class Prediction:
    """One prediction. Its state is a question of the time: nothing runs in the background.

    ``created`` and ``canceled`` are seconds of the monotonic clock; a test that moves
    ``created`` back makes the prediction older.
    """

    id: str
    model: Model
    version: str
    input: dict[str, Any]
    seed: int
    seconds: float
    created: float = field(default_factory=time.monotonic)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    canceled: float | None = None

    @property
    def status(self) -> str:
        """``starting``, ``processing``, ``succeeded`` or ``canceled``, now."""
        if self.canceled is not None:
            return "canceled"
        age = time.monotonic() - self.created
        if age >= self.seconds:
            return "succeeded"
        return "processing" if age >= self.seconds * STARTING_SHARE else "starting"

    @property
    def is_finished(self) -> bool:
        return self.status in ("succeeded", "canceled")

    def cancel(self) -> None:
        """End it now; a finished one stays as it is."""
        if not self.is_finished:
            self.canceled = time.monotonic()

    def filenames(self) -> list[str]:
        """Name the files of a success, in the order of the output."""
        ending = self.model.output_format(self.input)
        if not self.model.makes_list:
            return [f"output.{ending}"]
        return [f"out-{n}.{ending}" for n in range(self.model.output_count(self.input))]

    def as_json(self, base_url: str, *, just_created: bool = False) -> dict[str, Any]:
        """Return Replicate's object. The times and metrics are absent until they are known.

        The answer to the create says ``starting`` however short the whole thing takes.
        """
        status = "starting" if just_created else self.status
        address = f"{base_url}v1/predictions/{self.id}"
        output: list[str] | str | None = None
        if status == "succeeded":
            files = [f"{base_url}output/{self.id}/{name}" for name in self.filenames()]
            output = files if self.model.makes_list else files[0]
        return {
            "id": self.id,
            "model": self.model.id,
            "version": self.version,
            "status": status,
            "input": self.input,
            "output": output,
            "error": None,
            "source": "api",
            "data_removed": False,
            "created_at": _rfc3339(self.created_at),
            **self._progress(status),
            "urls": {"get": address, "cancel": f"{address}/cancel"},
        }

    def _progress(self, status: str) -> dict[str, Any]:
        """Logs, times and metrics: what there is of them depends on how far the run came."""
        waited = self.seconds * STARTING_SHARE
        total = self.seconds if self.canceled is None else self.canceled - self.created
        ran = status in ("processing", "succeeded") or (status == "canceled" and total >= waited)
        progress: dict[str, Any] = {"logs": f"Using seed: {self.seed}\n" if ran else ""}
        if ran:
            progress["started_at"] = _rfc3339(self.created_at + timedelta(seconds=waited))
        if status in ("succeeded", "canceled"):
            progress["completed_at"] = _rfc3339(self.created_at + timedelta(seconds=total))
            run_time = {"predict_time": round(total - waited, 6)} if ran else {}
            progress["metrics"] = {**run_time, "total_time": round(total, 6)}
        return progress


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
