"""Media types: Accept and Content-Type headers → the ones that PostgREST tells apart, and back."""

import re
from dataclasses import dataclass, replace

PARAMETER = re.compile(r'\s*;\s*([A-Za-z0-9-]+)\s*=\s*(?:"([^"]*)"|([A-Za-z0-9|-]+))')
ESSENCE = re.compile(r"([A-Za-z0-9.*]+)/([A-Za-z0-9.*+-]+)")
PLAN_OPTIONS = ("analyze", "verbose", "settings", "buffers", "wal")
QUALITY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
MAX_ACCEPTED = 64
"""Ranges of an Accept header that are looked at; browsers send fewer than ten."""


@dataclass(frozen=True)
class MediaType:
    """``essence``: type/subtype, in lower case where PostgREST knows it; of an unknown one the whole text as sent.

    ``nulls_stripped``: of ``ARRAY`` (always) and ``OBJECT``. ``plan_for`` and ``plan_options``: of an execution plan,
    whose essence ends in +text or +json.
    """

    essence: str
    nulls_stripped: bool = False
    plan_for: "MediaType | None" = None
    plan_options: tuple[str, ...] = ()

    @property
    def is_plan(self) -> bool:
        return self.plan_for is not None

    @property
    def mime(self) -> str:
        """As a header spells it, without charset."""
        if self.plan_for is not None:
            options = f"; options={'|'.join(self.plan_options)}" if self.plan_options else ""
            return f'{self.essence}; for="{self.plan_for.mime}"{options}'
        return f"{self.essence};nulls=stripped" if self.nulls_stripped else self.essence

    @property
    def content_type(self) -> str:
        """The value of Content-Type: with a charset, unless the type is binary or not PostgREST's own."""
        charset = self.is_plan or self.essence in WITH_CHARSET
        return f"{self.mime}; charset=utf-8" if charset else self.mime


ANY = MediaType("*/*")
JSON = MediaType("application/json")
GEO_JSON = MediaType("application/geo+json")
CSV = MediaType("text/csv")
TEXT = MediaType("text/plain")
XML = MediaType("text/xml")
OPENAPI = MediaType("application/openapi+json")
FORM = MediaType("application/x-www-form-urlencoded")
BINARY = MediaType("application/octet-stream")
OBJECT = MediaType("application/vnd.pgrst.object+json")
OBJECT_STRIPPED = replace(OBJECT, nulls_stripped=True)
ARRAY_STRIPPED = MediaType("application/vnd.pgrst.array+json", nulls_stripped=True)
"""Without nulls=stripped the array type is JSON itself."""
PLAN = "application/vnd.pgrst.plan"

PLAIN = {
    known.essence: known for known in (ANY, JSON, GEO_JSON, CSV, TEXT, XML, OPENAPI, FORM, BINARY)
}
WITH_CHARSET = frozenset({*PLAIN, OBJECT.essence, ARRAY_STRIPPED.essence}) - {BINARY.essence}


def decode(text: str) -> MediaType:
    """One media type; an unknown or malformed one is kept as sent."""
    parsed = ESSENCE.match(text)
    if parsed is None:
        return MediaType(text)
    essence = f"{parsed[1]}/{parsed[2]}".lower()
    if essence in PLAIN:
        return PLAIN[essence]
    if not essence.startswith("application/vnd.pgrst."):
        return MediaType(text)
    return _vendored(essence, _parameters(text, parsed.end()), text)


def accepted(header: str | None) -> list[MediaType]:
    """The media types of an Accept header by descending quality, equal ones as sent; without a header any."""
    if header is None:
        return [ANY]
    ranges = [_weighted(one) for one in _split(header)[:MAX_ACCEPTED]]
    ranges.sort(key=lambda weighted: (-weighted[0], -weighted[1]))
    return [decode(text) for _, _, text in ranges]


def _split(header: str) -> list[str]:
    # Spaces go, and commas split within quotes as well: so does upstream's library.
    return header.replace(" ", "").split(",")


def _weighted(one: str) -> tuple[float, int, str]:
    """(quality, specificity, media type); a malformed quality counts as 1."""
    text, _, rest = one.partition(";q=")
    quality = QUALITY.match(rest)
    return float(quality[0]) if quality else 1.0, text.count(";") - text.count("*"), text


def _parameters(text: str, start: int) -> dict[str, str]:
    found: dict[str, str] = {}
    while sent := PARAMETER.match(text, start):
        found[sent[1].lower()] = sent[3] if sent[2] is None else sent[2]
        start = sent.end()
    return found


def _vendored(essence: str, parameters: dict[str, str], text: str) -> MediaType:
    stripped = parameters.get("nulls") == "stripped"
    base = essence.removesuffix("+json")
    if base == "application/vnd.pgrst.object":
        return OBJECT_STRIPPED if stripped else OBJECT
    if base == "application/vnd.pgrst.array":
        return ARRAY_STRIPPED if stripped else JSON
    if essence in (PLAN, f"{PLAN}+text", f"{PLAN}+json"):
        sent = parameters.get("options", "").split("|")
        return MediaType(
            f"{PLAN}+json" if essence.endswith("+json") else f"{PLAN}+text",
            plan_for=_planned(parameters.get("for", JSON.essence)),
            plan_options=tuple(option for option in PLAN_OPTIONS if option in sent),
        )
    return MediaType(text)


def _planned(text: str) -> MediaType:
    """The type whose plan is asked for; a plan of a plan is none."""
    planned = decode(text)
    return MediaType(text) if planned.is_plan else planned
