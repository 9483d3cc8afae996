"""The example app's page at / and its files below /example/; 404 for all of them unless SERVE names example.

GET /                     the page
GET /example/config.js    the project's address and public key, as an app would have them in its own configuration
GET /example/<file>       scripts, style and icon
"""

import json
from collections.abc import Callable
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from functions._shared.errors import MethodNotAllowed, NotFound
from functions._shared.resources import resources_of
from functions._shared.settings import Settings

METHODS = frozenset({"GET", "HEAD"})
HEADERS = {
    # blob: is the preview of a picture that the user has chosen.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FILES = {
    "/": ("index.html", "text/html"),
    "/example/app.js": ("app.js", "text/javascript"),
    "/example/session.js": ("session.js", "text/javascript"),
    "/example/live.js": ("live.js", "text/javascript"),
    "/example/style.css": ("style.css", "text/css"),
    "/example/icon.svg": ("icon.svg", "image/svg+xml"),
    "/example/hills.svg": ("hills.svg", "image/svg+xml"),
}


class Page:
    """ASGI app for one path: ``text`` makes the body. Not a function with methods, whose 405 would answer when off."""

    def __init__(self, text: Callable[[Settings], str], media_type: str) -> None:
        self._text = text
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        settings = resources_of(request).settings
        if "example" not in settings.serve:
            raise NotFound("Not found")
        if request.method not in METHODS:
            raise MethodNotAllowed(
                f"Method {request.method} is not allowed here", allowed=METHODS | {"OPTIONS"}
            )
        response = Response(self._text(settings), media_type=self._media_type, headers=HEADERS)
        await response(scope, receive, send)


def file(name: str) -> Callable[[Settings], str]:
    return lambda _: resources.files(__package__ or "").joinpath("page", name).read_text("utf-8")


def config(settings: Settings) -> str:
    """A module with the two values that every Supabase app is configured with; both are public."""
    key = next(iter(settings.keys_of("anon")), "")
    return (
        "// Made by the gateway. An app has the same two values in a file of its own; both are public.\n"
        f"export const PROJECT_URL = {json.dumps(settings.public_base)};\n"
        f"export const ANON_KEY = {json.dumps(key)};\n"
    )


routes: list[BaseRoute] = [
    *(Route(path, Page(file(name), media_type)) for path, (name, media_type) in FILES.items()),
    Route("/example/config.js", Page(config, "text/javascript")),
]
