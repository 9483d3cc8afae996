"""Replicate's HTTP API: create, get and cancel a prediction. Each failure says whether to try again."""

import re
from typing import Any

import httpx
from pydantic import SecretStr

from functions._shared.errors import GenerationFailed

Prediction = dict[str, Any]
"""As the API returns it; ``status`` is starting, processing, succeeded, failed, canceled or aborted."""

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
REFUSED_CONTENT = ("flagged as sensitive", "nsfw", "(e005)")
"""Parts of the texts of content filters: the same prompt will be refused again."""


class PredictionOver(GenerationFailed):
    """The prediction will never give a picture: whoever tries again has to create a new one."""


class Replicate:
    """A client for one account. Only ``create`` costs money, and it never repeats itself."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: SecretStr | None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._token = token

    async def create(
        self, model: str, version: str | None, model_input: dict[str, Any], cancel_after_s: int
    ) -> Prediction:
        """Start a prediction of ``model`` (official, by name) or of ``version`` (a community model's hash)."""
        if version:
            path, body = "/predictions", {"version": version, "input": model_input}
        else:
            path, body = f"/models/{model}/predictions", {"input": model_input}
        # Cancel-After: if we are gone and nobody adopts the prediction, it ends by itself and bills no further.
        return await self._call(
            "POST", path, json=body, headers={"Cancel-After": f"{cancel_after_s}s"}
        )

    async def get(self, prediction_id: str) -> Prediction:
        """The prediction as it stands; safe to repeat. Raises PredictionOver where the provider knows it no longer."""
        return await self._call("GET", f"/predictions/{prediction_id}")

    async def cancel(self, prediction_id: str) -> Prediction:
        """Ask for its end; harmless on one that has ended."""
        return await self._call("POST", f"/predictions/{prediction_id}/cancel")

    async def _call(self, method: str, path: str, **options: Any) -> Prediction:
        if self._token is None:
            raise GenerationFailed("Replicate API token not configured", retry=False)
        headers = {
            "Authorization": f"Bearer {self._token.get_secret_value()}",
            **options.pop("headers", {}),
        }
        try:
            response = await self._http.request(
                method, f"{self._url}{path}", headers=headers, **options
            )
            if response.is_success:
                prediction: Prediction = response.json()
                return prediction
        except (httpx.HTTPError, ValueError) as error:
            raise GenerationFailed(f"Replicate is not reachable ({type(error).__name__})") from None
        raise _failure(response)


def first_output(output: Any) -> str | None:
    """The first picture's address, whichever of its shapes an output has: list, string, object with url."""
    if isinstance(output, list):
        return first_output(output[0]) if output else None
    if isinstance(output, dict):
        return first_output(output.get("url"))
    return output if isinstance(output, str) and output else None


def ended_without_picture(prediction: Prediction) -> PredictionOver:
    """The error of a prediction that failed, was canceled, or succeeded with nothing to show."""
    text = str(prediction.get("error") or "")
    if prediction["status"] == "succeeded":
        return PredictionOver(
            "The provider returned no image: it was filtered or has been removed", retry=False
        )
    if prediction["status"] in {"canceled", "aborted"}:
        return PredictionOver("The provider's prediction was canceled", retry=False)
    refused = any(part in text.lower() for part in REFUSED_CONTENT)
    return PredictionOver(text or "The model failed without a reason", retry=not refused)


def _failure(response: httpx.Response) -> GenerationFailed:
    status = response.status_code
    if status == 404 and response.request.method == "GET":
        return PredictionOver("The provider no longer knows the prediction")
    error = GenerationFailed(
        f"Replicate API error ({status}): {response.text[:2000]}",
        retry=status == 429 or status >= 500,
        retry_after_s=_retry_after_s(response) if status == 429 else None,
    )
    if status == 422:
        error.status = 400
    return error


def _retry_after_s(response: httpx.Response) -> float:
    """The wait a 429 asks for: its header, its body's field, its text, else ten seconds."""
    try:
        in_body = str(response.json().get("retry_after", ""))
    except (ValueError, AttributeError):
        in_body = ""
    in_text = re.search(r"resets in ~(\d+)s", response.text)
    for hint in (response.headers.get("retry-after", ""), in_body, in_text[1] if in_text else ""):
        if re.fullmatch(r"\d+(\.\d+)?", hint):
            return min(float(hint) + 0.5, 3600)
    return 10
