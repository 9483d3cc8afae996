"""What the page needs for the life of the process: sessions, templates, its database, the limit on sign-ins."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from functions._operate.database import OperateDatabase
from functions._operate.render import Renderer
from functions._operate.sessions import Sessions
from functions._shared.auth.throttle import AddressLimit
from functions._shared.resources import Resources
from functions._shared.settings import Settings

ATTEMPTS = 10
"""Attempts to sign in of one address at once; then one each 6 s."""


@dataclass(frozen=True)
class Room:
    """``is_open``: whether OPERATOR_KEYS names any; otherwise only the sign-in answers, for operators' tokens."""

    is_open: bool
    sessions: Sessions
    renderer: Renderer
    database: OperateDatabase
    attempts: AddressLimit


def make_room(resources: Resources, navigation: Sequence[tuple[str, str]]) -> Room:
    settings = resources.settings
    return Room(
        is_open=bool(settings.operator_keys),
        sessions=Sessions(settings),
        renderer=Renderer(navigation, image_origins(settings)),
        database=OperateDatabase(resources.pool),
        attempts=AddressLimit(burst=ATTEMPTS, per_s=1 / 6),
    )


def room_of(request: Request) -> Room:
    room: Room = request.state.operate
    return room


def image_origins(settings: Settings) -> list[str]:
    """Where finished pictures are read: a page that is opened by another name of this machine needs the address."""
    addresses = (settings.public_base, str(settings.supabase_url))
    parts = [urlsplit(address) for address in addresses]
    return sorted({f"{part.scheme}://{part.netloc}" for part in parts})
