"""Webhook delivery, signed as Standard Webhooks; the terminal event is retried (at least once)."""

import asyncio
import base64
import secrets
from datetime import UTC, datetime

import httpx
from standardwebhooks.webhooks import Webhook

from functions._local.sandbox.malformed import to_ascii_json
from functions._local.sandbox.predictions import Prediction

POLL_S = 0.02
RETRY_DELAYS_S = (0.5, 1, 2, 4, 8, 16, 30)
"""Backoff of the terminal event in seconds: the last retry is about a minute after the first attempt."""


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


class Webhooks:
    """Sends webhooks signed with ``secret``. ``late_seconds`` is the delay of the fault webhook-late."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.late_seconds = 1.0
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, prediction: Prediction, base_url: str) -> asyncio.Task[None]:
        """Send the prediction's webhooks at its events; the task ends after the last delivery or retry."""
        task = asyncio.create_task(self._follow(prediction, base_url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, prediction: Prediction, base_url: str) -> None:
        events = prediction.webhook_events or ["start", "output", "logs", "completed"]
        if "webhook-never" in prediction.faults:
            return
        async with httpx.AsyncClient(timeout=10, follow_redirects=False) as http:
            started = False
            while not prediction.is_finished:
                if "start" in events and not started and prediction.status != "starting":
                    started = True
                    await self._call(http, prediction, base_url)
                await asyncio.sleep(POLL_S)
            if "completed" not in events:
                return
            if "webhook-late" in prediction.faults:
                await asyncio.sleep(self.late_seconds)
            for _ in range(2 if "webhook-twice" in prediction.faults else 1):
                for pause_s in (*RETRY_DELAYS_S, None):
                    if await self._call(http, prediction, base_url) or pause_s is None:
                        break
                    await asyncio.sleep(pause_s)

    async def _call(self, http: httpx.AsyncClient, prediction: Prediction, base_url: str) -> bool:
        """Send one webhook; returns whether the receiver acknowledged with a status below 400."""
        assert prediction.webhook
        body = to_ascii_json(prediction.as_json(base_url))
        secret = new_secret() if "webhook-forged" in prediction.faults else self.secret
        id, now = f"msg_{secrets.token_hex(12)}", datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(id, now, body),
        }
        try:
            answer = await http.post(prediction.webhook, content=body, headers=headers)
        except httpx.HTTPError:
            return False
        return answer.status_code < 400
