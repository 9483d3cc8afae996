"""The sandbox's routes. See the package for the contract."""

import asyncio
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from functions._local.sandbox import creates, problems
from functions._local.sandbox.absurd import Written, slow_answer
from functions._local.sandbox.faults import Faults
from functions._local.sandbox.models import (
    OFFICIAL_VERSION,
    Model,
    find_by_reference,
    load_models,
    read_model,
)
from functions._local.sandbox.pictures import Pictures
from functions._local.sandbox.predictions import Prediction, read_moment
from functions._local.sandbox.problems import Cut, Problem
from functions._local.sandbox.upload_files import Files
from functions._local.sandbox.webhooks import Webhooks, new_secret

KEPT_PREDICTIONS = 10_000
PAGE_LENGTH = 100


class Sandbox:
    """The models, the predictions, and one method for each route."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.slow_seconds = 2.0
        """How late slow-answer and slow-file come."""
        self.pictures = Pictures()
        self.webhooks = Webhooks(new_secret())
        self.files = Files()
        self.predictions: dict[str, Prediction] = {}
        """By id, oldest first: as many as were created, up to ``KEPT_PREDICTIONS``."""
        self.calls: Counter[str] = Counter()
        """How often each route was called."""
        self.clear()

    def clear(self) -> None:
        """As new: no predictions, files, limit or counted faults, and the models of the files."""
        self.models = load_models()
        self.faults = Faults()
        self.rate = creates.RateLimit()
        self.predictions.clear()
        self.files.files.clear()
        self.calls.clear()

    def limit(self, per_minute: int | None, burst: int = 1) -> None:
        """Throttle creates from now on; None: no longer."""
        self.rate = creates.RateLimit(per_minute, burst)

    def add_model(self, data: Mapping[str, Any]) -> None:
        """Serve a model beyond the files; ``data`` has their form."""
        self.models[data["model"]] = read_model(data)

    def change_schema(self, model_id: str, input_schema: Mapping[str, Any]) -> None:
        self.models[model_id] = replace(self.models[model_id], input_schema=input_schema)

    async def create(self, request: Request) -> Response:
        self.calls["create"] += 1
        body = await problems.read_json(request)
        reference = body.get("version") if isinstance(body, dict) else None
        model = find_by_reference(self.models, reference) if isinstance(reference, str) else None
        creates.refuse_bad_body(body, model, by_name=False)
        if model is None or not isinstance(reference, str):
            raise Problem(
                422,
                "The specified version does not exist "
                "(or perhaps you don't have permission to use it?)",
                "Invalid version or not permitted",
            )
        version = OFFICIAL_VERSION if reference == model.id else reference.rpartition(":")[2]
        return await self._created(request, body, model, version)

    async def create_by_name(self, request: Request) -> Response:
        self.calls["create"] += 1
        model = self.models.get("{owner}/{name}".format_map(request.path_params))
        if model is None or not model.official:
            raise HTTPException(404)
        body = await problems.read_json(request)
        creates.refuse_bad_body(body, model, by_name=True)
        return await self._created(request, body, model, OFFICIAL_VERSION)

    async def _created(
        self, request: Request, body: dict[str, Any], model: Model, version: str
    ) -> Response:
        faults = creates.faults_of(request, body["input"], self.faults)
        if (refused := creates.refusal(faults)) is not None:
            return refused
        self.rate.take()
        base_url = str(request.base_url)
        prediction = creates.make(request, body, model, version, self.seconds, faults)
        prediction.lost_input = not all(
            self.files.has(address, base_url) for address in _addresses(prediction.input)
        )
        if "webhook-early" in faults:
            prediction.created -= self.seconds
        self.predictions[prediction.id] = prediction
        self._drop_oldest_finished()
        if prediction.webhook:
            calling = self.webhooks.follow(prediction, base_url)
            if "webhook-early" in faults:
                await asyncio.wait([calling])
        if "slow-answer" in faults:
            await asyncio.sleep(self.slow_seconds)
        if "error-after" in faults:
            return Response(status_code=502)
        if "cut-after" in faults:
            return Cut(status_code=201)
        held = await creates.hold(request, prediction)
        answer = prediction.as_json(base_url, just_created=not held)
        location = f"{base_url}v1/predictions/{prediction.id}"
        return Written(answer, status_code=201, headers={"location": location})

    async def get(self, request: Request) -> Response:
        self.calls["get"] += 1
        prediction = self._find(request)
        slow = slow_answer(prediction.faults, self._count_odd_bytes)
        return slow or Written(prediction.as_json(str(request.base_url)))

    async def cancel(self, request: Request) -> Response:
        self.calls["cancel"] += 1
        prediction = self._find(request)
        prediction.cancel()
        return Written(prediction.as_json(str(request.base_url)))

    def _count_odd_bytes(self, count: int) -> None:
        self.calls["odd bytes"] += count

    async def newest(self, request: Request) -> Response:
        self.calls["list"] += 1
        asked = request.query_params
        found = list(reversed(self.predictions.values()))
        if "created_after" in asked:
            moment = read_moment(asked["created_after"])
            found = [one for one in found if one.created_at >= moment]
        if "created_before" in asked:
            moment = read_moment(asked["created_before"])
            found = [one for one in found if one.created_at < moment]
        ids = [one.id for one in found]
        start = ids.index(asked["cursor"]) if asked.get("cursor") in ids else 0
        page = found[start : start + PAGE_LENGTH]

        def at(place: int) -> str | None:
            inside = 0 <= place < len(ids)
            return str(request.url.include_query_params(cursor=ids[place])) if inside else None

        previous = at(max(0, start - PAGE_LENGTH)) if start else None
        return Written(
            {
                "previous": previous,
                "next": at(start + PAGE_LENGTH),
                "results": [one.as_json(str(request.base_url)) for one in page],
            }
        )

    async def model(self, request: Request) -> Response:
        self.calls["model"] += 1
        return Written(self._model(request).as_json())

    async def versions(self, request: Request) -> Response:
        self.calls["version"] += 1
        version = self._model(request).as_json()["latest_version"]
        if "version" not in request.path_params:
            return JSONResponse({"previous": None, "next": None, "results": [version]})
        if request.path_params["version"] != version["id"]:
            raise HTTPException(404)
        return JSONResponse(version)

    async def account(self, _: Request) -> Response:
        who = {"type": "user", "username": "sandbox", "name": "Sandbox", "github_url": ""}
        return JSONResponse(who)

    async def webhook_secret(self, _: Request) -> Response:
        self.calls["webhook-secret"] += 1
        return JSONResponse({"key": self.webhooks.secret})

    async def output(self, request: Request) -> Response:
        self.calls["output"] += 1
        prediction = self._find(request)
        return await self.pictures.answer(request, prediction, self.faults, self.slow_seconds)

    def _drop_oldest_finished(self) -> None:
        excess = max(0, len(self.predictions) - KEPT_PREDICTIONS)
        finished = (id for id, prediction in self.predictions.items() if prediction.is_finished)
        for id in list(islice(finished, excess)):
            del self.predictions[id]

    def _find(self, request: Request) -> Prediction:
        prediction = self.predictions.get(request.path_params["id"])
        if prediction is None:
            raise HTTPException(404)
        return prediction

    def _model(self, request: Request) -> Model:
        model = self.models.get("{owner}/{name}".format_map(request.path_params))
        if model is None:
            raise HTTPException(404)
        return model


def _addresses(model_input: Mapping[str, Any]) -> list[str]:
    """The addresses among an input's values, those in lists too."""
    values = [
        part
        for value in model_input.values()
        for part in (value if isinstance(value, list) else [value])
    ]
    return [value for value in values if isinstance(value, str) and "://" in value]


class TokenCheck(AuthenticationBackend):
    """``Bearer`` is today's form, ``Token`` the old one that clients still send."""

    def __init__(self, token: str) -> None:
        self.token = token.encode()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        scheme, _, given = conn.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.token)
        if scheme.lower() not in ("bearer", "token") or not right:
            raise AuthenticationError
        return AuthCredentials(), SimpleUser("sandbox")


def create_sandbox(*, token: str, seconds: float = 2.0) -> Starlette:
    """Make an app that accepts ``token`` and takes ``seconds`` from a create to its success.

    With 0 seconds the first look after the create finds the success. ``app.state.sandbox`` is
    the ``Sandbox``, whose ``predictions`` a test may count and look into.
    """
    sandbox = Sandbox(seconds)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await sandbox.webhooks.close()

    api = [
        Route("/account", sandbox.account),
        Route("/predictions", sandbox.newest, methods=["GET"]),
        Route("/predictions", sandbox.create, methods=["POST"]),
        Route("/predictions/{id}", sandbox.get),
        Route("/predictions/{id}/cancel", sandbox.cancel, methods=["POST"]),
        Route("/models/{owner}/{name}", sandbox.model),
        Route("/models/{owner}/{name}/predictions", sandbox.create_by_name, methods=["POST"]),
        Route("/models/{owner}/{name}/versions", sandbox.versions),
        Route("/models/{owner}/{name}/versions/{version}", sandbox.versions),
        Route("/files", sandbox.files.list, methods=["GET"]),
        Route("/files", sandbox.files.create, methods=["POST"]),
        Route("/files/{id}", sandbox.files.get, methods=["GET"]),
        Route("/files/{id}", sandbox.files.delete, methods=["DELETE"]),
        Route("/webhooks/default/secret", sandbox.webhook_secret),
    ]
    check = Middleware(
        AuthenticationMiddleware, backend=TokenCheck(token), on_error=problems.on_bad_token
    )
    app = Starlette(
        routes=[
            Mount("/v1", routes=api, middleware=[check]),
            Route("/output/{id}/{filename}", sandbox.output),
        ],
        exception_handlers={
            Problem: problems.on_problem,
            HTTPException: problems.on_http_exception,
        },
        lifespan=lifespan,
    )
    app.state.sandbox = sandbox
    return app
