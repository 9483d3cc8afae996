"""Replicate's HTTP API. Each failure says what it means; a create that may have arrived is never repeated."""

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from functions._shared import foreign
from functions._shared.errors import GenerationFailed
from functions._shared.provider import failures
from functions._shared.provider.answers import Answer, Reader
from functions._shared.provider.prediction import PLAIN_ID, Prediction, read_prediction

log = logging.getLogger(__name__)

PAUSES_S = (0.2, 0.8)
"""Before the second and the third try of what is safe to repeat."""
UNHINTED_S = 10.0
"""What a 429 without a hint asks for."""
SECRET_ASKED_S = 60.0
CONNECT_S = 5.0
ANSWER_S = 30.0
"""What an answer may take from the request to its last byte, however steadily it drips."""
ADDRESS = re.compile(r"https?://[!-~]{1,8000}")
SECRET = re.compile(r"whsec_[A-Za-z0-9+/_-]{16,512}={0,2}")
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


class Unreadable(Failure):
    """An answer that makes no sense, is too large or does not end. Another time it may."""

    def __init__(self) -> None:
        super().__init__("Replicate's answer was not understood", error_class="transient")


class Replicate:
    """A client for one account. Only ``create`` costs money."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: SecretStr | None) -> None:
        self._http = http
        self._url = url.rstrip("/")
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
        """Start a prediction of ``model`` (official, by name) or of ``version`` (a community model's hash).

        ``wait_s`` holds the answer back until the end or that long; ``webhook`` is called at the end. Raises
        NotCreated, MaybeCreated.
        """
        body: dict[str, Any] = {"input": model_input}
        path = f"/models/{quote(model)}/predictions"
        if version:
            path, body = "/predictions", {"version": version, **body}
        if webhook:
            body |= {"webhook": webhook, "webhook_events_filter": ["completed"]}
        # If we are gone and nobody adopts the prediction, it ends by itself and bills no further.
        headers = {"Cancel-After": f"{min(max(cancel_after_s, 5), 86_400)}s"}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        answer = None
        for pause_s in (*PAUSES_S, None):
            try:
                answer = await self._send(
                    "POST", path, json=body, headers=headers, answer_s=ANSWER_S + (wait_s or 0)
                )
                break
            except NEVER_SENT as error:
                if pause_s is None:
                    raise NotCreated(_unreachable(error), error_class="transient") from None
                await asyncio.sleep(pause_s)
            except httpx.HTTPError as error:
                raise MaybeCreated(_unreachable(error), error_class="transient") from None
        assert answer is not None
        if answer.status >= 500:
            raise self._failed(MaybeCreated, answer)
        if not answer.is_success:
            raise self._failed(NotCreated, answer)
        try:
            return read_prediction(answer.document)
        except ValueError:
            raise MaybeCreated(str(Unreadable()), error_class="transient") from None

    async def get(self, prediction_id: str) -> Prediction:
        """The prediction as it stands. Raises PredictionOver where the provider knows it no longer, Failure."""
        answer = await self._repeat("GET", _path_of(prediction_id))
        try:
            prediction = read_prediction(answer.document)
        except ValueError:
            raise Unreadable from None
        if prediction.id != prediction_id:  # somebody else's picture must not be taken for ours
            raise Unreadable
        return prediction

    async def cancel(self, prediction_id: str) -> None:
        """Ask for its end; harmless on one that has ended."""
        await self._repeat("POST", f"{_path_of(prediction_id)}/cancel")

    async def recent(self, created_after: datetime) -> AsyncIterator[list[Prediction]]:
        """The account's predictions since then, newest first, a page (100) at a time; what is none is left out."""
        since = created_after.astimezone(UTC)
        path: str | None = f"/predictions?created_after={since:%Y-%m-%dT%H:%M:%S.%fZ}"
        while path:
            page = await self._object(path)
            if not isinstance(page.get("results"), list):
                raise Unreadable
            yield _predictions(page["results"])
            path = self._following(page.get("next"))

    def _following(self, address: Any) -> str | None:
        """The path of the next page. The address is the provider's; the token goes to that of our settings only."""
        if not isinstance(address, str) or not address.startswith(self._url):
            return None
        path = address.removeprefix(self._url)
        return path if re.fullmatch(r"/predictions\?[!-~]{1,2000}", path) else None

    async def model(self, model: str, version: str | None = None) -> dict[str, Any]:
        """The model with its latest_version, or one version of it. Raises Failure (unknown_model)."""
        path = f"/models/{quote(model)}" + (f"/versions/{quote(version, '')}" if version else "")
        return await self._object(path)

    async def account(self) -> str:
        """Whose token it is. Raises Failure."""
        return str((await self._object("/account")).get("username"))[:100]

    async def upload(self, data: bytes, filename: str, content_type: str) -> str:
        """Keep an input file with the provider for about a day; returns its address. Repeated safely."""
        files = {"content": (filename, data, content_type)}
        answer = await self._repeat("POST", "/files", files=files, answer_s=2 * ANSWER_S)
        urls = answer.document.get("urls") if isinstance(answer.document, dict) else None
        address = urls.get("get") if isinstance(urls, dict) else None
        if not isinstance(address, str) or not ADDRESS.fullmatch(address):
            raise Unreadable
        return address

    async def webhook_secret(self, *, renew: bool = False) -> str:
        """What the provider signs its webhooks with: ``whsec_…``. Asked for once, by ``renew`` once more a minute."""
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

    async def _repeat(self, method: str, path: str, **options: Any) -> Answer:
        """Send what is safe to repeat, three times at most. Raises Failure."""
        for pause_s in (*PAUSES_S, None):
            try:
                answer = await self._send(method, path, **options)
            except httpx.DecodingError:
                raise Unreadable from None
            except httpx.HTTPError as error:
                if pause_s is None:
                    raise Failure(_unreachable(error), error_class="transient") from None
            else:
                if answer.is_success:
                    return answer
                if pause_s is None or answer.status < 500:
                    if answer.status == 404 and path.startswith("/predictions/"):
                        raise _unknown()
                    raise self._failed(Failure, answer)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise AssertionError("the last try returns or raises")

    async def _send(
        self, method: str, path: str, *, answer_s: float = ANSWER_S, **options: Any
    ) -> Answer:
        """Raises NotCreated without a token, httpx.HTTPError for whatever is no whole answer in time."""
        if self._token is None:
            raise NotCreated(
                "Replicate API token not configured", retry=False, error_class="unauthorised"
            )
        headers = {
            "Authorization": f"Bearer {self._token.get_secret_value()}",
            "Accept-Encoding": "gzip",
            **options.pop("headers", {}),
        }
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        try:
            # httpx bounds each wait by itself; the whole is bounded here, connecting included.
            async with (
                asyncio.timeout(answer_s + CONNECT_S),
                self._http.stream(
                    method, f"{self._url}{path}", headers=headers, timeout=timeout, **options
                ) as response,
            ):
                return await self._reader.read(response)
        except TimeoutError:
            raise httpx.ReadTimeout("the answer does not end") from None

    def _failed(self, kind: type[Failure], answer: Answer) -> Failure:
        """The error for an answer that is no success; nothing secret is in it."""
        status, text, title = answer.status, self._without_secrets(answer.text), ""
        body = answer.document
        if isinstance(body, dict):
            title = foreign.in_words(body.get("title"))
            if told := foreign.in_words(body.get("detail")) or title:
                text = self._without_secrets(told).strip()
        if re.match(r"\s*(<|$)", text):  # a page of some proxy, or nothing
            text = answer.reason
        error_class = failures.class_of_answer(status, f"{text} {title}")
        consequence = failures.CLASSES[error_class]
        if consequence.text:
            log.error("Replicate answered %s: %s", status, text[:2000])
        wait_s = None
        if error_class == "busy":
            wait_s = failures.retry_after_s(answer.retry_after, body, text) or UNHINTED_S
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


def outputs_of(prediction: Prediction) -> Sequence[str]:
    """The pictures' addresses of a prediction that has ended; raises PredictionOver where there is none."""
    match prediction.status:
        case "succeeded":
            if prediction.output:
                return prediction.output
            if prediction.data_removed:
                raise _over(
                    "transient", "The provider has removed the image before it could be fetched"
                )
            raise _over(
                "refused", "The provider returned no image: it was filtered or has been removed"
            )
        case "aborted":
            over = _over("timed_out", "The provider did not begin in time")
            over.retry = True  # and has charged nothing
            raise over
        case "canceled":
            raise _over("canceled", "The provider's prediction was canceled")
    text = prediction.error
    raise _over(failures.class_of_ending(text), text or "The model failed without a reason")


def _over(error_class: str, text: str) -> PredictionOver:
    over = PredictionOver(text, retry=failures.CLASSES[error_class].retry, error_class=error_class)
    over.status = failures.CLASSES[error_class].status
    return over


def _unknown() -> PredictionOver:
    return PredictionOver("The provider no longer knows the prediction", error_class="transient")


def _path_of(prediction_id: str) -> str:
    """An id may come from a row that somebody else has written: it must not lead to another path of the account."""
    if not PLAIN_ID.fullmatch(prediction_id):
        raise _unknown()
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
