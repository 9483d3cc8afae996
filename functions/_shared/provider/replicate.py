"""Replicate's HTTP API. ``create`` is not idempotent: it is repeated only when the request was certainly never sent."""

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from functions._shared import tracing
from functions._shared.metrics import recording
from functions._shared.provider.answers import Answer, Reader
from functions._shared.provider.failures import (
    Failure,
    MaybeCreated,
    NotCreated,
    Unreadable,
    failure_of,
    forgotten,
)
from functions._shared.provider.prediction import PLAIN_ID, Prediction, read_prediction
from functions._shared.provider.redaction import redacted

log = logging.getLogger(__name__)

PAUSES_S = (0.2, 0.8)
"""Backoff before the second and the third try of an idempotent call."""
SECRET_ASKED_S = 60.0
"""Rate limit for renewing the webhook secret: forged signatures must not turn into API calls."""
CONNECT_S = 5.0
ANSWER_S = 30.0
"""Overall deadline of a response, from the request to its last byte: a slow drip resets a read timeout only."""
ADDRESS = re.compile(r"https?://[!-~]{1,8000}")
SECRET = re.compile(r"whsec_[A-Za-z0-9+/_-]{16,512}={0,2}")
MOVED = frozenset({301, 302, 307, 308})
MODEL_PATH = re.compile(r"/models/[\w.-]+/[\w.-]+(/predictions|/versions/\w+)?", re.ASCII)
READS = {
    "predictions": "get",
    "models": "model",
    "deployments": "deployment",
    "account": "account",
    "webhooks": "webhook_secret",
}
"""A GET's first segment → its name."""
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors from before the first byte of the request."""


class Replicate:
    """A client for one account. Only ``create`` costs money."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: SecretStr | None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._host = httpx.URL(url).host
        self._token = token
        self._reader = Reader()
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
        """Start a prediction of ``model`` (official, by name, or a deployment: ``deployments/owner/name``) or of
        ``version`` (a community model's hash; a deployment has its own).

        ``wait_s`` holds the response back until the end or that long; ``webhook`` is called at the end. Raises
        NotCreated, MaybeCreated.
        """
        body: dict[str, Any] = {"input": model_input}
        path = f"/models/{quote(model)}/predictions"
        if model.startswith("deployments/") and model.count("/") == 2:
            path = f"/{quote(model)}/predictions"
        elif version:
            path, body = "/predictions", {"version": version, **body}
        if webhook:
            body |= {"webhook": webhook, "webhook_events_filter": ["completed"]}
        # Cost cap: an orphaned prediction, which nobody adopts after a crash, ends by itself and bills no further.
        headers = {"Cancel-After": f"{min(max(cancel_after_s, 5), 86_400)}s"}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        options: dict[str, Any] = {"json": body, "headers": headers, "traced_model": model}
        answer = await self._send_once(path, answer_s=ANSWER_S + (wait_s or 0), **options)
        if moved := self._moved(path, answer):  # a redirect has created nothing
            answer = await self._send_once(moved, answer_s=ANSWER_S + (wait_s or 0), **options)
        if answer.status >= 500:
            raise failure_of(MaybeCreated, answer, self._redacted)
        if not answer.is_success:
            raise failure_of(NotCreated, answer, self._redacted)
        try:
            return read_prediction(answer.document)
        except ValueError:
            raise MaybeCreated(str(Unreadable())) from None

    async def get(self, prediction_id: str) -> Prediction:
        """The prediction's present state. Raises PredictionOver where the provider has deleted it, Failure."""
        answer = await self._repeat("GET", _path_of(prediction_id))
        try:
            prediction = read_prediction(answer.document)
        except ValueError:
            raise Unreadable from None
        if prediction.id != prediction_id:  # a mixed-up response: another user's picture
            raise Unreadable
        return prediction

    async def cancel(self, prediction_id: str) -> None:
        """Request cancellation; idempotent, and without effect on a terminal prediction."""
        await self._repeat("POST", f"{_path_of(prediction_id)}/cancel")

    async def recent(self, created_after: datetime) -> AsyncIterator[list[Prediction]]:
        """The account's predictions since then, newest first, in pages of 100; malformed entries are left out."""
        since = created_after.astimezone(UTC)
        path: str | None = f"/predictions?created_after={since:%Y-%m-%dT%H:%M:%S.%fZ}"
        while path:
            page = await self._object(path)
            if not isinstance(page.get("results"), list):
                raise Unreadable
            yield _predictions(page["results"])
            path = self._following(page.get("next"))

    def _following(self, address: Any) -> str | None:
        """The path of the next page. Only a path below our own base URL: the token must reach no other host."""
        if not isinstance(address, str) or not address.startswith(self._url):
            return None
        path = address.removeprefix(self._url)
        return path if re.fullmatch(r"/predictions\?[!-~]{1,2000}", path) else None

    async def model(self, model: str, version: str | None = None) -> dict[str, Any]:
        """The model with its latest_version, or one version of it. Raises Failure (unknown_model)."""
        path = f"/models/{quote(model)}" + (f"/versions/{quote(version, '')}" if version else "")
        return await self._object(path)

    async def deployment(self, deployment: str) -> dict[str, Any]:
        """``deployments/owner/name`` with its current_release. Raises Failure (unknown_model)."""
        return await self._object(f"/{quote(deployment)}")

    async def account(self) -> str:
        """The user name that the token belongs to. Raises Failure."""
        return str((await self._object("/account")).get("username"))[:100]

    async def upload(self, data: bytes, filename: str, content_type: str) -> str:
        """Upload an input file, which the provider keeps for about a day; returns its URL. Safe to repeat."""
        files = {"content": (filename, data, content_type)}
        answer = await self._repeat("POST", "/files", files=files, answer_s=2 * ANSWER_S)
        urls = answer.document.get("urls") if isinstance(answer.document, dict) else None
        address = urls.get("get") if isinstance(urls, dict) else None
        if not isinstance(address, str) or not ADDRESS.fullmatch(address):
            raise Unreadable
        return address

    async def webhook_secret(self, *, renew: bool = False) -> str:
        """The account's webhook signing secret, ``whsec_…``: cached; ``renew`` fetches it again, once a minute."""
        age_s = time.monotonic() - self._secret_asked
        if self._secret is None or (renew and age_s > SECRET_ASKED_S):
            self._secret_asked = time.monotonic()
            found = (await self._object("/webhooks/default/secret")).get("key")
            if not isinstance(found, str) or not SECRET.fullmatch(found):
                raise Unreadable
            self._secret = found
        return self._secret

    async def _object(self, path: str) -> dict[str, Any]:
        document = (await self._repeat("GET", path)).document
        if not isinstance(document, dict):
            raise Unreadable
        return document

    async def _send_once(self, path: str, **options: Any) -> Answer:
        """POST a call that is not idempotent, tried again only while it was never sent. Raises NotCreated,
        MaybeCreated.
        """
        for pause_s in (*PAUSES_S, None):
            try:
                return await self._send("POST", path, **options)
            except NEVER_SENT as error:
                if pause_s is None:
                    raise NotCreated(_unreachable(error)) from None
                await asyncio.sleep(pause_s)
            except httpx.HTTPError as error:
                raise MaybeCreated(_unreachable(error)) from None
        raise AssertionError("the last try returns or raises")

    async def _repeat(self, method: str, path: str, **options: Any) -> Answer:
        """Send an idempotent call, three times at most, with backoff and jitter. Raises Failure."""
        moved = None
        for pause_s in (*PAUSES_S, None):
            try:
                answer = await self._send(method, moved or path, **options)
                if moved is None and (moved := self._moved(path, answer)):
                    answer = await self._send(method, moved, **options)
            except httpx.DecodingError:
                raise Unreadable from None
            except httpx.HTTPError as error:
                if pause_s is None:
                    raise Failure(_unreachable(error)) from None
            else:
                if answer.is_success:
                    return answer
                if pause_s is None or answer.status < 500:
                    if answer.status == 404 and path.startswith("/predictions/"):
                        raise forgotten()
                    raise failure_of(Failure, answer, self._redacted)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise AssertionError("the last try returns or raises")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        answer_s: float = ANSWER_S,
        traced_model: str | None = None,
        **options: Any,
    ) -> Answer:
        """``traced_model``: of a create, for its trace.

        Raises NotCreated without a token, httpx.HTTPError where no complete response came in time.
        """
        if self._token is None:
            raise NotCreated("Replicate API token not configured", error_class="unauthorised")
        headers = {
            "Authorization": f"Bearer {self._token.get_secret_value()}",
            "Accept-Encoding": "gzip",
            **options.pop("headers", {}),
        }
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        operation = operation_of(method, path)
        url = f"{self._url}{path}"
        try:
            with tracing.provider_call(operation, method, self._host, traced_model):
                headers |= tracing.carried()
                # httpx's timeouts bound each read by itself; this one bounds the whole, connecting included.
                async with (
                    asyncio.timeout(answer_s + CONNECT_S),
                    self._http.stream(
                        method, url, headers=headers, timeout=timeout, **options
                    ) as response,
                ):
                    recording.provider_answered(operation, response.status_code)
                    tracing.response_status(response.status_code)
                    return await self._reader.read(response)
        except httpx.HTTPError as error:
            recording.provider_answered(operation, type(error).__name__)
            raise
        except TimeoutError:
            recording.provider_answered(operation, "TimeoutError")
            raise httpx.ReadTimeout("the answer does not end") from None

    def _moved(self, path: str, answer: Answer) -> str | None:
        """Where a model's path has been redirected to: only a model's path below our own base URL, for the token."""
        if answer.status not in MOVED or not path.startswith("/models/") or not answer.location:
            return None
        try:
            target = str(httpx.URL(f"{self._url}{path}").join(answer.location))
        except (httpx.InvalidURL, UnicodeError):
            return None
        new = target.removeprefix(self._url)
        return new if target.startswith(self._url) and MODEL_PATH.fullmatch(new) else None

    def _redacted(self, text: str) -> str:
        """``text`` without our token, and without anything of a credential's form."""
        token = self._token.get_secret_value() if self._token else ""
        return redacted(text.replace(token, "***") if token else text)


def operation_of(method: str, path: str) -> str:
    """A request's name: its path has ids in it, and names of models."""
    segments = path.partition("?")[0].split("/")
    if method == "GET":
        return "list" if segments[1:] == ["predictions"] else READS.get(segments[1], "other")
    return {"cancel": "cancel", "files": "upload"}.get(segments[-1], "create")


def _path_of(prediction_id: str) -> str:
    """Path traversal check: the id may come from a table row, and must not lead to another path of the account."""
    if not PLAIN_ID.fullmatch(prediction_id):
        raise forgotten()
    return f"/predictions/{prediction_id}"


def _predictions(results: list[Any]) -> list[Prediction]:
    found = []
    for one in results:
        try:
            found.append(read_prediction(one))
        except ValueError:
            log.warning("Replicate lists what is no prediction")
    return found


def _unreachable(error: httpx.HTTPError) -> str:
    return f"Replicate is not reachable ({type(error).__name__})"
