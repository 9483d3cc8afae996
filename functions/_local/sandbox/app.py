"""The sandbox's routes. See the package for the contract."""

import base64
import functools
import hmac
import json
import secrets
from collections.abc import Mapping
from itertools import islice
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from functions._local.sandbox import drawing
from functions._local.sandbox.models import (
    OFFICIAL_VERSION,
    Model,
    find_by_reference,
    load_models,
    refusals,
)
from functions._local.sandbox.picture_size import picture_size
from functions._local.sandbox.predictions import Prediction

KEPT_PREDICTIONS = 1000
KEPT_PICTURES = 32
PAGE_LENGTH = 100

CONTENT_TYPES: Mapping[str, str] = {
    "webp": "image/webp",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "svg": "image/svg+xml",
}


class Problem(Exception):
    """An answer in Replicate's error form: ``title`` and ``extra`` are left out when empty."""

    def __init__(self, status: int, detail: str, title: str = "", **extra: object) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {**({"title": title} if title else {}), "detail": detail, "status": status}
        self.body |= extra


class Sandbox:
    """The models, the predictions, and one method for each route."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.models = load_models()
        self.predictions: dict[str, Prediction] = {}
        """By id, oldest first: as many as were created, up to ``KEPT_PREDICTIONS``."""
        # Drawing is deterministic: the cache saves work, and a dropped picture is drawn again.
        self.draw = functools.lru_cache(maxsize=KEPT_PICTURES)(drawing.draw)

    async def create(self, request: Request) -> Response:
        body = await _read_json(request)
        reference = body.get("version") if isinstance(body, dict) else None
        model = find_by_reference(self.models, reference) if isinstance(reference, str) else None
        _refuse_bad_body(body, model, by_name=False)
        if model is None or not isinstance(reference, str):
            raise Problem(
                422,
                "The specified version does not exist "
                "(or perhaps you don't have permission to use it?)",
                "Invalid version or not permitted",
            )
        version = OFFICIAL_VERSION if reference == model.id else reference.rpartition(":")[2]
        return self._created(request, model, version, body["input"])

    async def create_by_name(self, request: Request) -> Response:
        model = self.models.get("{owner}/{name}".format_map(request.path_params))
        if model is None or not model.official:
            raise HTTPException(404)
        body = await _read_json(request)
        _refuse_bad_body(body, model, by_name=True)
        return self._created(request, model, OFFICIAL_VERSION, body["input"])

    async def get(self, request: Request) -> Response:
        return JSONResponse(self._find(request).as_json(str(request.base_url)))

    async def cancel(self, request: Request) -> Response:
        prediction = self._find(request)
        prediction.cancel()
        return JSONResponse(prediction.as_json(str(request.base_url)))

    async def newest(self, request: Request) -> Response:
        page = islice(reversed(self.predictions.values()), PAGE_LENGTH)
        results = [prediction.as_json(str(request.base_url)) for prediction in page]
        return JSONResponse({"previous": None, "next": None, "results": results})

    async def account(self, _: Request) -> Response:
        who = {"type": "user", "username": "sandbox", "name": "Sandbox", "github_url": ""}
        return JSONResponse(who)

    async def output(self, request: Request) -> Response:
        prediction = self._find(request)
        names = prediction.filenames() if prediction.status == "succeeded" else []
        if request.path_params["filename"] not in names:
            raise HTTPException(404)
        width, height = picture_size(prediction.model.effective(prediction.input))
        image_format = prediction.model.output_format(prediction.input)
        picture = await run_in_threadpool(
            self.draw,
            prompt=str(prediction.input.get("prompt", "")),
            model=prediction.model.id,
            seed=prediction.seed + names.index(request.path_params["filename"]),
            width=width,
            height=height,
            image_format=image_format,
        )
        return Response(picture, media_type=CONTENT_TYPES[image_format])

    def _created(
        self, request: Request, model: Model, version: str, given: dict[str, Any]
    ) -> Response:
        filled = model.with_defaults(given)
        prediction = Prediction(
            # 16 bytes are 26 of the 32 letters and digits.
            id=base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower(),
            model=model,
            version=version,
            input=filled,
            seed=int(model.effective(filled).get("seed", secrets.randbelow(2**31))),
            seconds=self.seconds,
        )
        self.predictions[prediction.id] = prediction
        self._drop_oldest_finished()
        answer = prediction.as_json(str(request.base_url), just_created=True)
        return JSONResponse(answer, status_code=201, headers={"location": answer["urls"]["get"]})

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
    app = Starlette(
        routes=[
            Mount(
                "/v1",
                routes=[
                    Route("/account", sandbox.account),
                    Route("/predictions", sandbox.newest, methods=["GET"]),
                    Route("/predictions", sandbox.create, methods=["POST"]),
                    Route("/predictions/{id}", sandbox.get),
                    Route("/predictions/{id}/cancel", sandbox.cancel, methods=["POST"]),
                    Route(
                        "/models/{owner}/{name}/predictions",
                        sandbox.create_by_name,
                        methods=["POST"],
                    ),
                ],
                middleware=[
                    Middleware(
                        AuthenticationMiddleware,
                        backend=TokenCheck(token),
                        on_error=_on_bad_token,
                    )
                ],
            ),
            Route("/output/{id}/{filename}", sandbox.output),
        ],
        exception_handlers={Problem: _on_problem, HTTPException: _on_http_exception},
    )
    app.state.sandbox = sandbox
    return app


async def _read_json(request: Request) -> Any:
    try:
        body = json.loads(await request.body())
        # Python reads NaN, 1e999 and half a surrogate pair, but could not answer with them.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"Failed to parse request body as JSON: {error}") from error
    return body


def _refuse_bad_body(body: object, model: Model | None, *, by_name: bool) -> None:
    if fields := refusals(body, model, by_name=by_name):
        lines = [": ".join(filter(None, (f["field"], f["description"]))) for f in fields]
        detail = "".join(f"- {line}\n" for line in lines)
        raise Problem(422, detail, "Input validation failed", invalid_fields=fields)


def _on_bad_token(_: HTTPConnection, __: AuthenticationError) -> Response:
    problem = Problem(401, "You did not pass a valid authentication token", "Unauthenticated")
    return JSONResponse(problem.body, status_code=problem.status)


async def _on_problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return JSONResponse(problem.body, status_code=problem.status)


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    missing = error.status_code == 404
    detail = "The requested resource could not be found." if missing else error.detail
    body = {"detail": detail, "status": error.status_code}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)
