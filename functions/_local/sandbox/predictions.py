"""One prediction of the sandbox: how far it is by the clock, and how the API tells it."""

import base64
import io
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import Image

from functions._local.sandbox.absurd import distorted
from functions._local.sandbox.faults import ENDINGS
from functions._local.sandbox.models import Model
from functions._local.sandbox.problems import Problem

STARTING_SHARE = 0.2  # of the whole time; the rest is the run
TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
NO_FILE = "The input file could not be read"

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


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
    faults: frozenset[str] = frozenset()
    cancel_after: float | None = None
    """Seconds from the create."""
    webhook: str | None = None
    webhook_events: list[str] | None = None
    lost_input: bool = False
    """An input file that we do not have."""
    created: float = field(default_factory=time.monotonic)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    canceled: float | None = None

    @property
    def age(self) -> float:
        return time.monotonic() - self.created

    @property
    def status(self) -> str:
        """Replicate's words, now."""
        if self.canceled is not None:
            return "canceled"
        age, ends = self.age, float("inf") if "hang" in self.faults else self.seconds
        if self.cancel_after is not None and self.cancel_after <= min(age, ends):
            return "aborted" if self.cancel_after < self.seconds * STARTING_SHARE else "canceled"
        if age >= ends:
            return self._ending[0]
        if age < self.seconds * STARTING_SHARE:
            return "starting"
        return "warming" if "strange-status" in self.faults else "processing"

    @property
    def _ending(self) -> tuple[str, str | None]:
        if self.lost_input:
            return "failed", NO_FILE
        return next((ENDINGS[name] for name in self.faults if name in ENDINGS), ("succeeded", None))

    @property
    def is_finished(self) -> bool:
        return self.status in TERMINAL

    def cancel(self) -> None:
        """End it now; a finished one stays as it is."""
        if not self.is_finished:
            self.canceled = time.monotonic()

    def filenames(self) -> list[str]:
        """Name the files of a success, in the order of the output."""
        ending = "txt" if "wrong-type" in self.faults else self.model.output_format(self.input)
        if not self.model.makes_list:
            return [f"output.{ending}"]
        count = self.model.output_count(self.input) - ("partial" in self.faults)
        return [f"out-{n}.{ending}" for n in range(count)]

    def as_json(self, base_url: str, *, just_created: bool = False) -> Any:
        """Return Replicate's object. The times and metrics are absent until they are known.

        The answer to the create says ``starting`` however short the whole thing takes.
        """
        status = "starting" if just_created else self.status
        address = f"{base_url}v1/predictions/{self.id}"
        shown: dict[str, Any] = {
            "id": self.id,
            "model": self.model.id,
            "version": self.version,
            "status": status,
            "input": self.input,
            "output": self._output(base_url) if status == "succeeded" else None,
            "error": self._ending[1] if status == "failed" else None,
            "source": "api",
            "data_removed": "removed" in self.faults and status in TERMINAL,
            "created_at": rfc3339(self.created_at),
            **self._progress(status),
            "urls": {"get": address, "cancel": f"{address}/cancel"},
        }
        if self.cancel_after is not None:
            shown["deadline"] = rfc3339(self.created_at + timedelta(seconds=self.cancel_after))
        if self.webhook is not None:
            shown |= {"webhook": self.webhook, "webhook_events_filter": self.webhook_events}
        return distorted(shown, self.faults) if status in TERMINAL else shown

    def _output(self, base_url: str) -> Any:
        if "removed" in self.faults:
            return None
        if "filtered" in self.faults:
            return [] if self.model.makes_list else None
        files = [f"{base_url}output/{self.id}/{name}" for name in self.filenames()]
        if "data-uri" in self.faults:
            files = [_pixel() for _ in files]
        if "object" in self.faults:
            return {"url": files[0]}
        return files if self.model.makes_list else files[0]

    def _progress(self, status: str) -> dict[str, Any]:
        """Logs, times and metrics: what there is of them depends on how far the run came."""
        waited = self.seconds * STARTING_SHARE
        total = self.seconds
        if self.canceled is not None:
            total = self.canceled - self.created
        elif self.cancel_after is not None and status in ("canceled", "aborted"):
            total = self.cancel_after
        over = status in TERMINAL
        ran = status not in ("starting", "aborted") and (not over or total >= waited)
        progress: dict[str, Any] = {"logs": self._logs(total - waited) if ran else ""}
        if ran:
            progress["started_at"] = rfc3339(self.created_at + timedelta(seconds=waited))
        if over:
            progress["completed_at"] = rfc3339(self.created_at + timedelta(seconds=total))
            run_time = {"predict_time": round(total - waited, 6)} if ran else {}
            progress["metrics"] = {**run_time, "total_time": round(total, 6)}
        return progress

    def _logs(self, ran: float) -> str:
        """As open models print them: the seed, and a bar a step."""
        steps = int(self.input.get("num_inference_steps") or 4)
        length = max(self.seconds * (1 - STARTING_SHARE), 0.001)
        if not self.is_finished:
            ran = self.age - self.seconds * STARTING_SHARE
        done = (
            steps if self.status == "succeeded" else max(0, min(steps, int(steps * ran / length)))
        )
        bars = (f"\r{100 * n // steps:3d}%|{'█' * n}| {n}/{steps}" for n in range(done + 1))
        return f"Using seed: {self.seed}\n{''.join(bars)}\n"


def _pixel() -> str:
    """A picture as a data URI."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def read_duration(text: str) -> float:
    """Seconds of ``30``, ``30s``, ``5m``, ``2h``, ``1m30s``, from 5 s to 24 h. Raises Problem."""
    found = _DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    whole = hours * 3600 + minutes * 60 + seconds
    if not 5 <= whole <= 24 * 3600:
        raise Problem(422, f"Cancel-After must be between 5 seconds and 24 hours, got {text!r}")
    return whole


def read_moment(text: str) -> datetime:
    """A moment in RFC 3339. Raises Problem."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Problem(400, f"Not a time in RFC 3339: {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
