"""The table of the page's routes, which the gateway mounts: a page is a file below pages/, a template, and a line here.

404 unless OPERATOR_KEYS names operators, or a user's token says that its user is one (``sign_in.py``).
"""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions._operate import sign_in
from functions._operate.pages import (
    charts,
    clock,
    failures,
    generation,
    generations,
    job,
    jobs,
    log,
    models,
    overview,
    users,
    webhooks,
    workers,
)
from functions._operate.room import Room, make_room
from functions._operate.static import static
from functions._operate.visit import Handler, action, answered, page
from functions._shared.resources import Resources

ROOT = "/operate"

NAVIGATION: Sequence[tuple[str, str]] = (
    ("/", "Overview"),
    ("/generations", "Generations"),
    ("/jobs", "Jobs"),
    ("/failures", "Failures"),
    ("/workers", "Workers"),
    ("/clock", "Clock"),
    ("/webhooks", "Webhooks"),
    ("/models", "Models"),
    ("/users", "Users"),
    ("/log", "Log"),
)
"""What the navigation lists, in order: a path of ROUTES, and its title."""


def get(path: str, handler: Handler) -> Route:
    return Route(f"{ROOT}{path}", page(handler), methods=["GET"])


def post(path: str, handler: Handler, *, writes: bool = True) -> Route:
    return Route(f"{ROOT}{path}", action(handler, writes=writes), methods=["POST"])


async def sign_in_form(request: Request) -> Response:
    return await answered(request, lambda: sign_in.form(request))


async def signed_in(request: Request) -> Response:
    return await answered(request, lambda: sign_in.sign_in(request))


routes: Sequence[BaseRoute] = (
    get("", overview.overview),
    get("/", overview.overview),
    post("/pause", overview.pause),
    post("/resume", overview.resume),
    get("/charts/{name}.svg", charts.chart),
    get("/generations", generations.generations),
    get("/generations/{id}", generation.generation),
    get("/generations/{id}/events", generation.events),
    post("/generations/{id}/redrive", generation.redrive),
    post("/generations/{id}/cancel", generation.cancel),
    get("/jobs", jobs.jobs),
    post("/change-jobs", jobs.change),
    get("/jobs/{id}", job.job),
    post("/jobs/{id}/cancel", job.cancel),
    post("/jobs/{id}/redrive", job.redrive),
    get("/failures", failures.failures),
    get("/failures/redrive", failures.ask_redrive),
    post("/failures/redrive", failures.redrive),
    get("/workers", workers.workers),
    get("/clock", clock.clock),
    post("/clock", clock.change),
    get("/webhooks", webhooks.webhooks),
    post("/webhooks/{id}/resend", webhooks.resend),
    get("/models", models.models),
    post("/models", models.switch),
    post("/models/try", models.attempt),
    get("/users", users.users),
    get("/users/{id}", users.user),
    get("/users/{id}/cancel", users.ask_cancel),
    post("/users/{id}/cancel", users.cancel),
    post("/users/{id}/quota", users.set_quota),
    post("/users/{id}/budget", users.set_budget),
    get("/log", log.log),
    Route(f"{ROOT}/sign-in", sign_in_form, methods=["GET"]),
    Route(f"{ROOT}/sign-in", signed_in, methods=["POST"]),
    post("/sign-out", sign_in.sign_out, writes=False),
    Route(f"{ROOT}/static/{{name}}", static, methods=["GET"]),
)


def open_operate(resources: Resources) -> Room:
    """What the handlers find as ``request.state.operate``."""
    return make_room(resources, NAVIGATION)
