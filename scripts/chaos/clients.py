"""The load: a Poisson process of generations with unique prompts, whatever state the gateways are in."""

import random
import threading
from uuid import UUID, uuid4

import httpx
from jose import jwt

from functions._shared.local_keys import LOCAL_JWT_SECRET
from scripts.chaos.gateways import Gateway
from scripts.chaos.history import History

MODELS = ("black-forest-labs/flux-schnell", "google/nano-banana", "black-forest-labs/flux-dev")
PROVIDER_FAULTS = (
    "busy-header", "busy-body", "error-before", "error-after", "cut-before", "cut-after", "slow-answer",
    "interrupted", "hang", "failed", "flagged", "file-error", "slow-file", "queue-full",
)  # fmt: skip
FAULT_RATE = 0.4
"""The share of prompts with a provider fault."""
SIZE = 64


class Clients(threading.Thread):
    """Sends about ``per_second`` generations until ``stop``, and records the answers in ``history``."""

    def __init__(
        self, gateways: list[Gateway], history: History, seed: int, per_second: float
    ) -> None:
        super().__init__(daemon=True)
        self._gateways = gateways
        self._history = history
        self._random = random.Random(seed)  # noqa: S311 - reproducible
        self._per_second = per_second
        self._users = [UUID(int=self._random.getrandbits(128), version=4) for _ in range(5)]
        self._stopping = threading.Event()

    def run(self) -> None:
        number = 0
        with httpx.Client(timeout=5) as client:
            while not self._stopping.wait(self._random.expovariate(self._per_second)):
                number += 1
                self._send(client, number)

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def _send(self, client: httpx.Client, number: int) -> None:
        fault = self._random.choice(PROVIDER_FAULTS) if self._random.random() < FAULT_RATE else None
        prompt = f"picture {number}" + (f" [fault:{fault}]" if fault else "")
        body = {
            "prompt": prompt,
            "model_id": self._random.choice(MODELS),
            "width": SIZE,
            "height": SIZE,
        }
        gateway = self._random.choice(self._gateways)
        headers = {"Authorization": f"Bearer {_token(self._random.choice(self._users))}"}
        self._history.asked(prompt)
        try:
            answer = client.post(
                f"{gateway.url}/functions/v1/start-generation", json=body, headers=headers
            )
        except httpx.HTTPError:
            return  # outcome unknown: the request may have been accepted
        if answer.status_code == 200:
            self._history.accepted(prompt, answer.json()["generation_id"])


def _token(user: UUID) -> str:
    claims = {
        "sub": str(user),
        "role": "authenticated",
        "aud": "authenticated",
        "exp": 4102444800,
        "jti": str(uuid4()),
    }
    return jwt.encode(claims, LOCAL_JWT_SECRET, algorithm="HS256")
