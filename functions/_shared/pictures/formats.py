"""Content sniffing: a file's format from its magic bytes, never from a name, URL or Content-Type. Linear time."""

import re
from typing import Literal

CONTENT_TYPES = {
    "webp": "image/webp",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "svg": "image/svg+xml",
}
"""Stored format → its media type."""
CONVERTED = frozenset({"AVIF", "HEIC", "BMP", "TIFF", "JPEG 2000"})
"""Formats that are decoded and encoded anew, before they are stored or sent to a model."""
Purpose = Literal["source", "output"]
"""Purpose of a conversion: a ``source`` becomes PNG or JPEG for a model, an ``output`` PNG or WebP for Storage."""

PROLOGUE_BYTES = 128 * 1024
"""How far into an XML file its root element is searched."""

_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"%PDF-", "PDF"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\x1aE\xdf\xa3", "WebM"),
    (b"PK\3\4", "ZIP"),
    (b"glTF", "glTF"),
    (b"ID3", "MP3"),
)
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"hevm": "HEIC",
    b"hevs": "HEIC",
    b"hevx": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
}
_RIFF = {b"WEBP": "webp", b"WAVE": "WAV", b"AVI ": "AVI"}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]{0,63}:)?svg[\s/>]")
_IN_DOCTYPE = re.compile(r"[\"'<>\[\]]")


def format_of(data: bytes) -> str:
    """A key of CONTENT_TYPES; another known format's name, as people write it; "" for anything else."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] in _RIFF:
        return _RIFF[data[8:12]]
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[:64].lstrip()[:1] in {b"{", b"["}:
        return "JSON"
    return "svg" if _is_svg(data) else ""


def _brand(data: bytes) -> str:
    """AVIF, HEIC and films share a container (ISO BMFF): told apart by its major brand, or else its compatible ones."""
    box = data[: min(int.from_bytes(data[:4], "big"), 256)]
    brands = [box[8:12], *(box[at : at + 4] for at in range(16, len(box) - 3, 4))]
    if any(brand in {b"avif", b"avis"} for brand in brands):
        return "AVIF"
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "MP4")


def _is_svg(data: bytes) -> bool:
    """Whether the root element is svg, behind an XML prolog (XML 1.0, production 22).

    A scanner, no regular expression (ReDoS): a pattern for "any number of comments" has 2^n ways to match n comments,
    which ``re`` tries while it holds the GIL. Each step here goes on where the last one ended.
    """
    text = _as_text(data[:PROLOGUE_BYTES])
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if text.startswith("<!--", at):
            at = _behind(text, "-->", at + 4)
        elif text.startswith("<?", at):
            at = _behind(text, "?>", at + 2)
        elif text.startswith("<!DOCTYPE", at):
            at = _behind_doctype(text, at + 9)
        else:
            return _ROOT.match(text, at) is not None
        if at < 0:
            return False


def _as_text(data: bytes) -> str:
    """Decoded as far as markup needs: UTF-16 by its byte order mark or first character, else Latin-1."""
    for start, encoding in (
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
        (b"<\0", "utf-16-le"),
        (b"\0<", "utf-16-be"),
    ):
        if data.startswith(start):
            return data.decode(encoding, errors="replace").removeprefix("\ufeff")
    return data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def _behind(text: str, end: str, at: int) -> int:
    """The index behind the next ``end``; -1 where there is none."""
    found = text.find(end, at)
    return -1 if found < 0 else found + len(end)


def _behind_doctype(text: str, at: int) -> int:
    """The index behind a document type declaration, whose internal subset holds quotes, comments; -1 if unclosed."""
    inside = False
    while at >= 0 and (found := _IN_DOCTYPE.search(text, at)):
        at = found.end()
        match found[0]:
            case "[" | "]":
                inside = found[0] == "["
            case ">" if not inside:
                return at
            case "<" if text.startswith("!--", at):
                at = _behind(text, "-->", at + 3)
            case "<" if text.startswith("?", at):
                at = _behind(text, "?>", at + 1)
            case '"' | "'":
                at = _behind(text, found[0], at)
            case _:
                pass  # a declaration of the internal subset begins or ends
    return -1
