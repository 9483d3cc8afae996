"""GET /operate/static/<file>: style, script and icon, which tell nothing and so need no session."""

from importlib import resources
from mimetypes import guess_type

from starlette.requests import Request
from starlette.responses import Response

from functions._shared.errors import NotFound

FILES = {
    file.name: (file.read_bytes(), guess_type(file.name)[0])
    for file in resources.files(__package__ or "").joinpath("static").iterdir()
}
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",  # their address changes with them
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def static(request: Request) -> Response:
    found = FILES.get(request.path_params["name"])
    if found is None:
        raise NotFound("Not found")
    data, media_type = found
    return Response(data, media_type=media_type, headers=HEADERS)
