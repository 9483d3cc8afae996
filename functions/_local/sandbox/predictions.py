"""One prediction: its status as a function of the time since the create, and its API object."""

import base64
import io
import random
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import Image

from functions._local.sandbox.faults import ENDINGS
from functions._local.sandbox.malformed import with_malformed_values
from functions._local.sandbox.models import Model
from functions._local.sandbox.problems import Problem

STARTING_SHARE = 0.2
"""Share of the total time in status ``starting``; the rest is ``processing``."""
TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
NOISE_SIDE = 512
"""Pixels of the picture of large-data-uri: about a megabyte as base64."""
INPUT_FILE_UNREADABLE = "The input file could not be read"

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


@dataclass(kw_only=True)
class Prediction:
    """One prediction. The status is computed from the monotonic clock; no task runs in the background.

    ``created`` and ``canceled`` are monotonic seconds; a test that moves ``created`` back ages the prediction.
    """

    id: str
    model: Model
    version: str
    input: dict[str, Any]
    seed: int
    seconds: float
    faults: frozenset[str] = frozenset()
    cancel_after: float | None = None
    """The deadline in seconds from the create (header ``Cancel-After``)."""
    webhook: str | None = None
    webhook_events: list[str] | None = None
    input_file_missing: bool = False
    """Whether the input names an uploaded file that does not exist: the prediction fails."""
    created: float = field(default_factory=time.monotonic)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    canceled: float | None = None

    @property
    def age(self) -> float:
        return time.monotonic() - self.created

    @property
    def status(self) -> str:
        """The current status: ``starting``, ``processing``, or a terminal status (``TERMINAL``)."""
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
        if self.input_file_missing:
            return "failed", INPUT_FILE_UNREADABLE
        return next((ENDINGS[name] for name in self.faults if name in ENDINGS), ("succeeded", None))

    @property
    def is_finished(self) -> bool:
        return self.status in TERMINAL

    def cancel(self) -> None:
        """Cancel now; idempotent, a terminal status stays."""
        if not self.is_finished:
            self.canceled = time.monotonic()

    def filenames(self) -> list[str]:
        """Names of the output files of a succeeded prediction, in output order."""
        ending = "txt" if "wrong-type" in self.faults else self.model.output_format(self.input)
        if not self.model.makes_list:
            return [f"output.{ending}"]
        count = self.model.output_count(self.input) - ("partial" in self.faults)
        return [f"out-{n}.{ending}" for n in range(count)]

    def as_json(self, base_url: str, *, just_created: bool = False) -> Any:
        """The API's prediction object. Times and metrics are absent until known.

        With ``just_created`` the status is ``starting``, as in Replicate's response to a create, however fast the run.
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
        return with_malformed_values(shown, self.faults) if status in TERMINAL else shown

    def _output(self, base_url: str) -> Any:
        if "removed" in self.faults:
            return None
        if "filtered" in self.faults:
            return [] if self.model.makes_list else None
        files = [f"{base_url}output/{self.id}/{name}" for name in self.filenames()]
        if "data-uri" in self.faults:
            files = [_data_uri(Image.new("RGB", (1, 1))) for _ in files]
        if "large-data-uri" in self.faults:
            noise = random.Random(self.seed).randbytes(3 * NOISE_SIDE**2)  # noqa: S311 - incompressible, no secret
            files = [_data_uri(Image.frombytes("RGB", (NOISE_SIDE, NOISE_SIDE), noise))]
        if "links" in self.faults:
            links = {
                "more_info_url": "https://replicate.com/docs",
                "video": f"{base_url}output/none.mp4",
            }
            return {"caption": "a picture", "image": files[0], **links}
        if "object" in self.faults:
            return {"url": files[0]}
        return files if self.model.makes_list else files[0]

    def _progress(self, status: str) -> dict[str, Any]:
        """Logs, ``started_at``, ``completed_at`` and metrics, as far as the run has come."""
        waited = self.seconds * STARTING_SHARE
        total = self.seconds
        if self.canceled is not None:
            total = self.canceled - self.created
        elif self.cancel_after is not None and status in ("canceled", "aborted"):
            total = self.cancel_after
        ended = status in TERMINAL
        ran = status not in ("starting", "aborted") and (not ended or total >= waited)
        progress: dict[str, Any] = {"logs": self._logs(total - waited) if ran else ""}
        if ran:
            progress["started_at"] = rfc3339(self.created_at + timedelta(seconds=waited))
        if ended:
            progress["completed_at"] = rfc3339(self.created_at + timedelta(seconds=total))
            run_time = {"predict_time": round(total - waited, 6)} if ran else {}
            progress["metrics"] = {**run_time, "total_time": round(total, 6)}
        return progress

    def _logs(self, ran: float) -> str:
        """Logs as open-weight models print them: the seed, then a tqdm progress bar for each step."""
        steps = int(self.input.get("num_inference_steps") or 4)
        length = max(self.seconds * (1 - STARTING_SHARE), 0.001)
        if not self.is_finished:
            ran = self.age - self.seconds * STARTING_SHARE
        done = (
            steps if self.status == "succeeded" else max(0, min(steps, int(steps * ran / length)))
        )
        bars = (f"\r{100 * n // steps:3d}%|{'█' * n}| {n}/{steps}" for n in range(done + 1))
        return f"Using seed: {self.seed}\n{''.join(bars)}\n"


def _data_uri(picture: Image.Image) -> str:
    """A picture as the data URI of a PNG."""
    file = io.BytesIO()
    picture.save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def read_duration(text: str) -> float:
    """Parse a duration such as ``30``, ``30s``, ``5m``, ``2h`` or ``1m30s`` to seconds.

    Raises Problem outside 5 s to 24 h.
    """
    found = _DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not 5 <= total <= 24 * 3600:
        raise Problem(422, f"Cancel-After must be between 5 seconds and 24 hours, got {text!r}")
    return total


def read_timestamp(text: str) -> datetime:
    """Parse an RFC 3339 timestamp; without an offset it is UTC. Raises Problem."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Problem(400, f"Not a time in RFC 3339: {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
