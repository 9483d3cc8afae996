"""Templates → HTML (Jinja2, autoescape), and the filters that turn times, lengths and money into words."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from decimal import Decimal
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from jinja2 import Environment

ADDRESS = re.compile(
    r"(?P<scheme>\bhttps?://)(?:[^\s/?#\"]*@)?(?P<rest>[^\s?#\"]*)(?P<more>[?#][^\s\"]*)?",
    re.IGNORECASE,
)
STEPS = ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "days"))
"""Below so many seconds: the unit in seconds, and its name; as picture_edge.spoken has them."""
ABSENT = "—"
ENDS_OF_TIME = frozenset({MINYEAR, MAXYEAR})
"""Years of what stands for PostgreSQL's -infinity and infinity (``database.AnyTime``)."""


def base_of(request: Request) -> str:
    """The page's own prefix, also where the gateway is below a path of a proxy's."""
    return f"{request.scope.get('root_path', '')}/operate"


def spoken(seconds: float | Decimal | None) -> str:
    """A length in words with one unit: 0.4 s, 40 s, 15 min, 5 h, 3 days."""
    if seconds is None:
        return ABSENT
    length = abs(float(seconds))
    if length < 10:
        return f"{length:.1f}".removesuffix(".0") + " s"
    _, unit, name = next(step for step in STEPS if length < step[0])
    return f"{length / unit:.0f} {name}"


def age(at: datetime) -> float:
    """Seconds since ``at``; negative for a time to come."""
    return (datetime.now(UTC) - at).total_seconds()


def when(at: datetime | None) -> Markup:
    """A <time> element: how long ago or until, the time itself in its title and for programs."""
    if at is None:
        return escape(ABSENT)
    if at.year in ENDS_OF_TIME:
        return _time(at, "never")
    seconds = age(at)
    words = f"{spoken(seconds)} ago" if seconds >= 0 else f"in {spoken(seconds)}"
    return _time(at, words)


def clock(at: datetime | None) -> Markup:
    """A <time> element that shows the time of day in UTC, with its date unless that is today."""
    if at is None:
        return escape(ABSENT)
    if at.year in ENDS_OF_TIME:
        return _time(at, "never")
    utc = at.astimezone(UTC)
    today = utc.date() == datetime.now(UTC).date()
    return _time(at, utc.strftime("%H:%M:%S" if today else "%-d %b %H:%M:%S"))


def _time(at: datetime, words: str) -> Markup:
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        utc.isoformat(timespec="seconds").replace("+00:00", "Z"),
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        words,
    )


def usd(amount: Decimal | float | None) -> str:
    """US dollars: with cents from a dollar on, below that with two digits that count."""
    if amount is None:
        return ABSENT
    value = Decimal(amount)
    if value == 0 or abs(value) >= 1:
        return f"${value:,.2f}"
    text = f"{value:.4f}".rstrip("0")
    return f"${text if len(text.partition('.')[2]) >= 2 else f'{value:.2f}'}"


def count(number: int | Decimal | None) -> str:
    """A whole number with narrow spaces between thousands."""
    return (
        ABSENT if number is None else f"{int(number):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    )


def short(identifier: object) -> str:
    """The end of an id, which tells two of them apart: those of jobs begin with their time (UUIDv7)."""
    return f"…{str(identifier)[-8:]}"


def bare(text: str) -> str:
    """``text``; of each address in it neither user nor query: receivers of webhooks and Storage have secrets there."""
    return ADDRESS.sub(
        lambda found: f"{found['scheme']}{found['rest']}{'?…' if found['more'] else ''}", text
    )


def query(values: Mapping[str, Any], **changes: Any) -> str:
    """``?a=b&…`` of the values that are given, with changes; "" of none."""
    chosen = {
        name: value for name, value in {**values, **changes}.items() if value not in (None, "")
    }
    return f"?{urlencode(chosen, doseq=True)}" if chosen else ""


class Renderer:
    """``navigation``: (path, title) of each page in it, in order."""

    def __init__(self, navigation: Sequence[tuple[str, str]], image_origins: Sequence[str]) -> None:
        self._navigation = navigation
        self._headers = headers(image_origins)

    @cached_property
    def _environment(self) -> "Environment":
        # Imported with the first page: most processes never show one, and need not start later for it.
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("functions._operate"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(
            spoken=spoken, when=when, clock=clock, usd=usd, count=count, short=short, bare=bare
        )
        environment.globals.update(
            navigation=self._navigation, query=query, version=_version(), session=None, said={}
        )
        return environment

    def response(
        self, request: Request, template: str, values: Mapping[str, Any], status: int = 200
    ) -> HTMLResponse:
        text = self._environment.get_template(template).render(
            base=base_of(request), path=request.scope["path"], now=datetime.now(UTC), **values
        )
        return HTMLResponse(text, status, headers=dict(self._headers))


def headers(image_origins: Sequence[str]) -> Mapping[str, str]:
    """``image_origins``: where pictures may come from besides this address."""
    images = " ".join(["'self'", *image_origins])
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src {images}; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Not no-referrer: the Origin of a form would be null, which is what a foreign page's can be.
        "Referrer-Policy": "same-origin",
    }


def _version() -> str:
    """Of the static files: part of their address, so that browsers may keep them for good."""
    folder = resources.files(__package__ or "").joinpath("static")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
