"""Replicate's HTTP API. Each failure says what it means; a create that may have arrived is never repeated."""

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
from pydantic import SecretStr

from functions._shared import failures
from functions._shared.errors import GenerationFailed

log = logging.getLogger(__name__)

Prediction = dict[str, Any]
"""As the API returns it; ``status`` is starting, processing, succeeded, failed, canceled or aborted."""

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
PAUSES_S = (0.2, 0.8)
"""Before the second and the third try of what is safe to repeat."""
UNHINTED_S = 10.0
"""What a 429 without a hint asks for."""
SECRET_ASKED_S = 60.0
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Failure(GenerationFailed):
    """What the provider answered, or that it did not. ``spacing_s``: the least seconds between two creates."""

    spacing_s: float | None = None


class NotCreated(Failure):
    """The provider has made nothing: it refused, or was never reached."""


class MaybeCreated(Failure):
    """No telling: the request was sent, and no good answer came. Look for the prediction before asking again."""


class PredictionOver(Failure):
    """The prediction will never give a picture: whoever tries again has to create a new one."""


class Replicate:
    """A client for one account. Only ``create`` costs money."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: SecretStr | None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._token = token
        self._secret: str | None = None
        self._secret_asked = 0.0

    async def create(
        self,
        model: str,
        version: str | None,
        model_input: dict[str, Any],
        *,
        cancel_after_s: int,
        wait_s: int | None = None,
        webhook: str | None = None,
    ) -> Prediction:
        """Start a prediction of ``model`` (official, by name) or of ``version`` (a community model's hash).

        ``wait_s`` holds the answer back until the end or that long; ``webhook`` is called at the end. Raises
        NotCreated, MaybeCreated.
        """
        body: dict[str, Any] = {"input": model_input}
        path = f"/models/{model}/predictions"
        if version:
            path, body = "/predictions", {"version": version, **body}
        if webhook:
            body |= {"webhook": webhook, "webhook_events_filter": ["completed"]}
        # If we are gone and nobody adopts the prediction, it ends by itself and bills no further.
        headers = {"Cancel-After": f"{min(max(cancel_after_s, 5), 86_400)}s"}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        response = None
        for pause_s in (*PAUSES_S, None):
            try:
                response = await self._send(
                    "POST",
                    path,
                    json=body,
                    headers=headers,
                    timeout=httpx.Timeout(30 + (wait_s or 0), connect=5),
                )
                break
            except NEVER_SENT as error:
                if pause_s is None:
                    raise NotCreated(_unreachable(error), error_class="transient") from None
                await asyncio.sleep(pause_s)
            except httpx.HTTPError as error:
                raise MaybeCreated(_unreachable(error), error_class="transient") from None
        assert response is not None
        if response.status_code >= 500:
            raise self._failed(MaybeCreated, response)
        if not response.is_success:
            raise self._failed(NotCreated, response)
        try:
            return _prediction(response)
        except ValueError:
            raise MaybeCreated("Replicate's answer was not understood") from None

    async def get(self, prediction_id: str) -> Prediction:
        """The prediction as it stands. Raises PredictionOver where the provider knows it no longer."""
        return _prediction(await self._get(f"/predictions/{prediction_id}"))

    async def cancel(self, prediction_id: str) -> None:
        """Ask for its end; harmless on one that has ended."""
        await self._repeat("POST", f"/predictions/{prediction_id}/cancel")

    async def recent(self, created_after: datetime) -> AsyncIterator[list[Prediction]]:
        """The account's predictions since then, newest first, a page (100) at a time."""
        path: str | None = f"/predictions?created_after={created_after:%Y-%m-%dT%H:%M:%S.%fZ}"
        while path:
            page = (await self._get(path)).json()
            yield list(page["results"])
            following = page.get("next") or ""
            # The address is the provider's; the token goes to the address of our settings only.
            path = following.removeprefix(self._url) if following.startswith(self._url) else None

    async def model(self, model: str, version: str | None = None) -> dict[str, Any]:
        """The model with its latest_version, or one version of it. Raises Failure (unknown_model)."""
        path = f"/models/{model}" + (f"/versions/{version}" if version else "")
        found: dict[str, Any] = (await self._get(path)).json()
        return found

    async def account(self) -> str:
        """Whose token it is. Raises Failure."""
        return str((await self._get("/account")).json().get("username"))

    async def upload(self, data: bytes, filename: str, content_type: str) -> str:
        """Keep an input file with the provider for about a day; returns its address. Repeated safely."""
        files = {"content": (filename, data, content_type)}
        response = await self._repeat("POST", "/files", files=files, timeout=60)
        address: str = response.json()["urls"]["get"]
        return address

    async def webhook_secret(self, *, renew: bool = False) -> str:
        """What the provider signs its webhooks with: ``whsec_…``. Asked for once, by ``renew`` once more a minute."""
        age_s = time.monotonic() - self._secret_asked
        if self._secret is None or (renew and age_s > SECRET_ASKED_S):
            self._secret_asked = time.monotonic()
            self._secret = str((await self._get("/webhooks/default/secret")).json()["key"])
        return self._secret

    async def _get(self, path: str) -> httpx.Response:
        return await self._repeat("GET", path)

    async def _repeat(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send what is safe to repeat, three times at most. Raises Failure."""
        for pause_s in (*PAUSES_S, None):
            try:
                response = await self._send(method, path, **options)
            except httpx.HTTPError as error:
                if pause_s is None:
                    raise Failure(_unreachable(error), error_class="transient") from None
            else:
                if response.is_success:
                    return response
                if pause_s is None or response.status_code < 500:
                    if response.status_code == 404 and path.startswith("/predictions/"):
                        raise PredictionOver(
                            "The provider no longer knows the prediction", error_class="transient"
                        )
                    raise self._failed(Failure, response)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise AssertionError("the last try returns or raises")

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if self._token is None:
            raise NotCreated(
                "Replicate API token not configured", retry=False, error_class="unauthorised"
            )
        headers = {
            "Authorization": f"Bearer {self._token.get_secret_value()}",
            **options.pop("headers", {}),
        }
        return await self._http.request(method, f"{self._url}{path}", headers=headers, **options)

    def _failed(self, kind: type[Failure], response: httpx.Response) -> Failure:
        """The error for an answer that is no success; nothing secret is in it."""
        status, text = response.status_code, self._without_secrets(response.text)
        try:
            body = response.json()
        except ValueError:
            body = None
        if isinstance(body, dict) and isinstance(body.get("detail") or body.get("title"), str):
            text = self._without_secrets(body.get("detail") or body["title"]).strip()
        elif re.match(r"\s*(<|$)", text):  # a page of some proxy, or nothing
            text = response.reason_phrase
        title = body.get("title") if isinstance(body, dict) else ""
        error_class = failures.class_of_answer(status, f"{text} {title}")
        consequence = failures.CLASSES[error_class]
        if consequence.text:
            log.error("Replicate answered %s: %s", status, text)
        wait_s = None
        if error_class == "busy":
            header = response.headers.get("retry-after")
            wait_s = failures.retry_after_s(header, body, text) or UNHINTED_S
        error = kind(
            f"Replicate API error ({status}): {(consequence.text or text)[:2000]}",
            retry=consequence.retry,
            retry_after_s=wait_s,
            error_class=error_class,
        )
        error.status = consequence.status
        error.spacing_s = failures.spacing_s(text)
        return error

    def _without_secrets(self, text: str) -> str:
        token = self._token.get_secret_value() if self._token else ""
        text = text.replace(token, "***") if token else text
        return re.sub(r"\b(r8_|whsec_)[\w+/=-]{4,}", r"\1***", text)


def outputs_of(prediction: Prediction) -> tuple[str, ...]:
    """The pictures' addresses of a prediction that has ended; raises PredictionOver where there is none."""
    status, text = prediction["status"], str(prediction.get("error") or "")
    addresses = tuple(_addresses(prediction.get("output")))
    if status == "succeeded":
        if addresses:
            return addresses
        if prediction.get("data_removed"):
            raise _over(
                "transient", "The provider has removed the image before it could be fetched"
            )
        raise _over(
            "refused", "The provider returned no image: it was filtered or has been removed"
        )
    if status == "aborted":
        over = _over("timed_out", "The provider did not begin in time")
        over.retry = True  # and has charged nothing
        raise over
    if status == "canceled":
        raise _over("canceled", "The provider's prediction was canceled")
    raise _over(failures.class_of_ending(text), text or "The model failed without a reason")


def _addresses(output: Any) -> list[str]:
    """An output is a list, a string, an object with url, or an object or list of those."""
    if isinstance(output, str):
        return [output] if output.startswith(("https://", "http://", "data:")) else []
    if isinstance(output, dict):
        return _addresses(output["url"] if "url" in output else list(output.values()))
    return (
        [address for part in output for address in _addresses(part)]
        if isinstance(output, list)
        else []
    )


def _over(error_class: str, text: str) -> PredictionOver:
    over = PredictionOver(
        text[:2000], retry=failures.CLASSES[error_class].retry, error_class=error_class
    )
    over.status = failures.CLASSES[error_class].status
    return over


def _prediction(response: httpx.Response) -> Prediction:
    prediction = response.json()
    if not isinstance(prediction, dict) or not {"id", "status"} <= prediction.keys():
        raise ValueError("not a prediction")
    return prediction


def _unreachable(error: httpx.HTTPError) -> str:
    return f"Replicate is not reachable ({type(error).__name__})"
