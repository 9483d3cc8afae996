"""The sandbox's routes and their handlers. The package's docstring has the contract."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from functions._local.sandbox import creation, problems
from functions._local.sandbox.authentication import TokenCheck, on_authentication_error
from functions._local.sandbox.faults import Faults
from functions._local.sandbox.listing import page_of
from functions._local.sandbox.malformed import AsciiJSONResponse, endless_response
from functions._local.sandbox.models import (
    OFFICIAL_VERSION,
    Model,
    deployment_as_json,
    find_by_reference,
    load_models,
    read_model,
)
from functions._local.sandbox.pictures import Pictures
from functions._local.sandbox.predictions import Prediction
from functions._local.sandbox.problems import Problem, TruncatedResponse
from functions._local.sandbox.upload_files import Files
from functions._local.sandbox.webhooks import Webhooks, new_secret

KEPT_PREDICTIONS = 10_000


class Sandbox:
    """The state of the sandbox (models, predictions, uploads) and one handler method for each route."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.slow_seconds = 2.0
        """Delay in seconds of the faults slow-answer and slow-file."""
        self.pictures = Pictures()
        self.webhooks = Webhooks(new_secret())
        self.files = Files()
        self.deployments: dict[str, str] = {}
        """``owner/name`` of a deployment → the model that it runs, at its latest version."""
        self.predictions: dict[str, Prediction] = {}
        """By id, oldest first. Beyond ``KEPT_PREDICTIONS`` the oldest finished predictions are evicted."""
        self.moved: dict[str, str] = {}
        """Former id → present id of a model: its addresses redirect (301)."""
        self.closed: set[str] = set()
        """Ids of models that the account may not use (403)."""
        self.unpublished: set[str] = set()
        """Ids of models without a version."""
        self.calls: Counter[str] = Counter()
        """Requests by route; "odd bytes" counts the bytes sent in answers without an end."""
        self.clear()

    def clear(self) -> None:
        """Reset the state: no predictions, uploads, rate limit, fault counts or added models."""
        self.models = load_models()
        self.deployments = {"acme/flux-schnell": "black-forest-labs/flux-schnell"}
        self.faults = Faults()
        self.rate = creation.TokenBucket()
        self.predictions.clear()
        self.files.files.clear()
        self.moved.clear()
        self.closed.clear()
        self.unpublished.clear()
        self.calls.clear()

    def limit(self, per_minute: int | None, burst: int = 1) -> None:
        """Throttle creates from now on; None removes the rate limit."""
        self.rate = creation.TokenBucket(per_minute, burst)

    def add_model(self, data: Mapping[str, Any]) -> None:
        """Serve one more model; ``data`` has the form of a schema file."""
        self.models[data["model"]] = read_model(data)

    def change_schema(self, model_id: str, input_schema: Mapping[str, Any]) -> None:
        self.models[model_id] = replace(self.models[model_id], input_schema=input_schema)

    async def create(self, request: Request) -> Response:
        self.calls["create"] += 1
        body = await problems.read_json(request)
        reference = body.get("version") if isinstance(body, dict) else None
        model = find_by_reference(self.models, reference) if isinstance(reference, str) else None
        creation.validate_body(body, model, by_name=False)
        if model is None or not isinstance(reference, str):
            raise Problem(
                422,
                "The specified version does not exist "
                "(or perhaps you don't have permission to use it?)",
                "Invalid version or not permitted",
            )
        version = OFFICIAL_VERSION if reference == model.id else reference.rpartition(":")[2]
        return await self._create_prediction(request, body, model, version)

    async def create_by_name(self, request: Request) -> Response:
        self.calls["create"] += 1
        if redirect := self._redirect(request):
            return redirect
        model = self._model(request)
        if not model.official:
            raise HTTPException(404)
        body = await problems.read_json(request)
        creation.validate_body(body, model, by_name=True)
        return await self._create_prediction(request, body, model, OFFICIAL_VERSION)

    async def create_deployed(self, request: Request) -> Response:
        self.calls["create"] += 1
        model = self._deployed(request)
        body = await problems.read_json(request)
        creation.validate_body(body, model, by_name=True)
        return await self._create_prediction(request, body, model, model.latest_version)

    async def deployment(self, request: Request) -> Response:
        self.calls["deployment"] += 1
        return AsciiJSONResponse(deployment_as_json(request.path_params, self._deployed(request)))

    async def _create_prediction(
        self, request: Request, body: dict[str, Any], model: Model, version: str
    ) -> Response:
        """Create from a valid body. The fault decides whether the prediction is made, and what is answered."""
        faults = creation.requested_faults(request, body["input"], self.faults)
        if (error := creation.error_response(faults)) is not None:
            return error
        self.rate.take()
        base_url = str(request.base_url)
        prediction = creation.new_prediction(request, body, model, version, self.seconds, faults)
        prediction.input_file_missing = not all(
            self.files.has(address, base_url) for address in _addresses(prediction.input)
        )
        if "webhook-early" in faults:
            prediction.created -= self.seconds
        self.predictions[prediction.id] = prediction
        self._evict_finished()
        if prediction.webhook:
            delivery = self.webhooks.follow(prediction, base_url)
            if "webhook-early" in faults:
                await asyncio.wait([delivery])
        if "slow-answer" in faults:
            await asyncio.sleep(self.slow_seconds)
        if "error-after" in faults:
            return Response(status_code=502)
        if "cut-after" in faults:
            return TruncatedResponse(status_code=201)
        waited = await creation.wait_as_preferred(request, prediction)
        answer = prediction.as_json(base_url, just_created=not waited)
        location = f"{base_url}v1/predictions/{prediction.id}"
        return AsciiJSONResponse(answer, status_code=201, headers={"location": location})

    async def get(self, request: Request) -> Response:
        self.calls["get"] += 1
        prediction = self._find(request)
        slow = endless_response(prediction.faults, self._count_unending_bytes)
        return slow or AsciiJSONResponse(prediction.as_json(str(request.base_url)))

    async def cancel(self, request: Request) -> Response:
        self.calls["cancel"] += 1
        prediction = self._find(request)
        prediction.cancel()
        return AsciiJSONResponse(prediction.as_json(str(request.base_url)))

    def _count_unending_bytes(self, count: int) -> None:
        self.calls["odd bytes"] += count

    async def list(self, request: Request) -> Response:
        self.calls["list"] += 1
        return AsciiJSONResponse(page_of(self.predictions.values(), request))

    async def model(self, request: Request) -> Response:
        self.calls["model"] += 1
        if redirect := self._redirect(request):
            return redirect
        model = self._model(request)
        shown = model.as_json()
        if model.id in self.unpublished:
            shown["latest_version"] = None
        return AsciiJSONResponse(shown)

    async def versions(self, request: Request) -> Response:
        self.calls["version"] += 1
        version = self._model(request).as_json()["latest_version"]
        if "version" not in request.path_params:
            return JSONResponse({"previous": None, "next": None, "results": [version]})
        if request.path_params["version"] != version["id"]:
            raise HTTPException(404)
        return JSONResponse(version)

    async def account(self, _: Request) -> Response:
        owner = {"type": "user", "username": "sandbox", "name": "Sandbox", "github_url": ""}
        return JSONResponse(owner)

    async def webhook_secret(self, _: Request) -> Response:
        self.calls["webhook-secret"] += 1
        return JSONResponse({"key": self.webhooks.secret})

    async def output(self, request: Request) -> Response:
        self.calls["output"] += 1
        prediction = self._find(request)
        return await self.pictures.answer(request, prediction, self.faults, self.slow_seconds)

    def _evict_finished(self) -> None:
        excess = max(0, len(self.predictions) - KEPT_PREDICTIONS)
        finished = (id for id, prediction in self.predictions.items() if prediction.is_finished)
        for id in [*islice(finished, excess)]:
            del self.predictions[id]

    def _find(self, request: Request) -> Prediction:
        prediction = self.predictions.get(request.path_params["id"])
        if prediction is None:
            raise HTTPException(404)
        return prediction

    def _deployed(self, request: Request) -> Model:
        """The model of the deployment that the path names."""
        model_id = self.deployments.get("{owner}/{name}".format_map(request.path_params))
        if model_id is None:
            raise HTTPException(404)
        return self.models[model_id]

    def _model(self, request: Request) -> Model:
        model_id = "{owner}/{name}".format_map(request.path_params)
        if model_id in self.closed:
            raise Problem(403, "You do not have permission to perform this action.")
        model = self.models.get(model_id)
        if model is None:
            raise HTTPException(404)
        return model

    def _redirect(self, request: Request) -> Response | None:
        """The redirect of a model that has another name now."""
        former = "{owner}/{name}".format_map(request.path_params)
        present = self.moved.get(former)
        if present is None:
            return None
        return RedirectResponse(request.url.path.replace(former, present), 301)


def _addresses(model_input: Mapping[str, Any]) -> list[str]:
    """All URLs among the values of an input, and in its lists."""
    values = [
        part
        for value in model_input.values()
        for part in (value if isinstance(value, list) else [value])
    ]
    return [value for value in values if isinstance(value, str) and "://" in value]


def create_sandbox(*, token: str, seconds: float = 2.0) -> Starlette:
    """Make an app that accepts ``token`` and takes ``seconds`` from a create to the terminal status.

    With 0 seconds the first poll after the create finds the prediction succeeded. ``app.state.sandbox``
    is the ``Sandbox``, whose ``predictions`` and ``calls`` tests may read.
    """
    sandbox = Sandbox(seconds)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await sandbox.webhooks.close()

    api = [
        Route("/account", sandbox.account),
        Route("/predictions", sandbox.list, methods=["GET"]),
        Route("/predictions", sandbox.create, methods=["POST"]),
        Route("/predictions/{id}", sandbox.get),
        Route("/predictions/{id}/cancel", sandbox.cancel, methods=["POST"]),
        Route("/models/{owner}/{name}", sandbox.model),
        Route("/models/{owner}/{name}/predictions", sandbox.create_by_name, methods=["POST"]),
        Route("/models/{owner}/{name}/versions", sandbox.versions),
        Route("/models/{owner}/{name}/versions/{version}", sandbox.versions),
        Route("/deployments/{owner}/{name}", sandbox.deployment),
        Route("/deployments/{owner}/{name}/predictions", sandbox.create_deployed, methods=["POST"]),
        Route("/files", sandbox.files.list, methods=["GET"]),
        Route("/files", sandbox.files.create, methods=["POST"]),
        Route("/files/{id}", sandbox.files.get, methods=["GET"]),
        Route("/files/{id}", sandbox.files.delete, methods=["DELETE"]),
        Route("/webhooks/default/secret", sandbox.webhook_secret),
    ]
    check = Middleware(
        AuthenticationMiddleware, backend=TokenCheck(token), on_error=on_authentication_error
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
