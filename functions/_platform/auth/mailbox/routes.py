"""/mailbox: a page, and the JSON that it reads. 404 where mails are really sent.

GET    /mailbox                            the page; its script and style beside it
GET    /mailbox/api/messages[?to=address]  the mails, newest first, without their text
DELETE /mailbox/api/messages               empties the mailbox
GET    /mailbox/api/messages/<id>          one mail with its text and HTML
DELETE /mailbox/api/messages/<id>          removes it
GET    /mailbox/api/messages/<id>/html     its HTML as a page, without rights (sandbox)
"""

from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from functions._platform.auth.mailbox.box import Mailbox, Received
from functions._shared.errors import Forbidden, NotFound

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Stored XSS: a mail's HTML holds what people typed at sign-up. No scripts, no network, an origin of its own.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
ASSETS = {
    "": ("mailbox.html", "text/html"),
    "/mailbox.css": ("mailbox.css", "text/css"),
    "/mailbox.js": ("mailbox.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
SAFE = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}

Handler = Callable[[Request, Mailbox], Awaitable[Response]]


def mailbox_of(request: Request) -> Mailbox:
    """Raises NotFound where there is none, and Forbidden for a foreign page (CSRF): a mail's link signs its reader in.

    A browser names the page's origin in every cross-origin fetch; the mailbox's own page is on the same host.
    """
    auth = getattr(request.state, "auth", None)  # absent where SERVE does not name auth
    mailbox = getattr(auth, "mailer", None)
    if not isinstance(mailbox, Mailbox):
        raise NotFound("Not found")
    origin, host = request.headers.get("origin"), request.headers.get("host")
    if origin is not None and origin.partition("://")[2] != host:
        raise Forbidden("The mailbox is read by its own page, not by others")
    return mailbox


def handled(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        response = await handler(request, mailbox_of(request))
        for name, value in SAFE.items():
            response.headers[name] = value
        return response

    return endpoint


async def asset(request: Request, _: Mailbox) -> Response:
    name, media_type = ASSETS[request.url.path.removeprefix("/mailbox")]
    text = resources.files(__package__ or "").joinpath("page", name).read_text("utf-8")
    return Response(text, media_type=media_type, headers={"Content-Security-Policy": PAGE_POLICY})


async def list_mails(request: Request, mailbox: Mailbox) -> Response:
    to = request.query_params.get("to")
    mails = mailbox.newest_first(to and to.lower())
    return JSONResponse({"messages": [summary(received) for received in mails]})


async def clear(request: Request, mailbox: Mailbox) -> Response:
    mailbox.clear()
    return Response(status_code=204)


async def show(request: Request, mailbox: Mailbox) -> Response:
    received = found(request, mailbox)
    return JSONResponse(
        {**summary(received), "text": received.mail.text, "html": received.mail.html}
    )


async def remove(request: Request, mailbox: Mailbox) -> Response:
    if not mailbox.remove(request.path_params["id"]):
        raise NotFound("No such mail")
    return Response(status_code=204)


async def show_html(request: Request, mailbox: Mailbox) -> Response:
    return Response(
        found(request, mailbox).mail.html,
        media_type="text/html",
        headers={"Content-Security-Policy": MAIL_POLICY},
    )


def found(request: Request, mailbox: Mailbox) -> Received:
    received = mailbox.find(request.path_params["id"])
    if received is None:
        raise NotFound("No such mail")
    return received


def summary(received: Received) -> dict[str, Any]:
    mail = received.mail
    return {
        "id": received.id,
        "created_at": received.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "kind": mail.kind,
        "to": mail.to,
        "subject": mail.subject,
        "link": mail.link,
        "code": mail.code,
    }


MESSAGES = "/mailbox/api/messages"
routes: list[BaseRoute] = [
    *(Route(f"/mailbox{path}", handled(asset), methods=["GET"]) for path in ASSETS),
    Route(MESSAGES, handled(list_mails), methods=["GET"]),
    Route(MESSAGES, handled(clear), methods=["DELETE"]),
    Route(f"{MESSAGES}/{{id}}", handled(show), methods=["GET"]),
    Route(f"{MESSAGES}/{{id}}", handled(remove), methods=["DELETE"]),
    Route(f"{MESSAGES}/{{id}}/html", handled(show_html), methods=["GET"]),
]
