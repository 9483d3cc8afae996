"""Header and integrity of an AVIF, HEIC or JPEG 2000 from its boxes (ISO/IEC 14496-12), without decoding.

Raises as ``web_headers.py`` does.
"""

import struct
from collections.abc import Iterator

from functions._shared.pictures.header import MOST_PARTS, Broken, Header, Truncated

_SOC, _SIZ, _COD, _SOT, _EOC = b"\xff\x4f", 0xFF51, 0xFF52, 0xFF90, b"\xff\xd9"
"""Markers of a JPEG 2000 codestream."""


def avif(data: bytes) -> Header:
    return _items(data, "AVIF")


def heic(data: bytes) -> Header:
    return _items(data, "HEIC")


def _items(data: bytes, picture_format: str) -> Header:
    """The size of the largest item: the picture, where tiles, thumbnails and alpha are items as well.

    An upper bound, for the limit of pixels: which item is shown, and how it is turned, its decoder tells.
    """
    sizes: list[tuple[int, int]] = []
    lossless = False
    # Every top-level box is visited: one that is longer than the file shows truncation.
    found = [(start, end) for kind, start, end in _boxes(data, 0, len(data)) if kind == b"meta"]
    if not found:
        raise Broken("it has no picture in it")
    within, end = found[0]
    for kind, start, _ in _inside(data, within + 4, end, b"iprp", b"ipco"):
        if kind == b"ispe":
            sizes.append(struct.unpack_from(">4xII", data, start))
        elif kind == b"colr" and data[start : start + 4] == b"nclx":
            # Matrix coefficients 0 (identity): samples are RGB, as only lossless encoders have them.
            lossless = lossless or struct.unpack_from(">8xH", data, start)[0] == 0
    if not sizes:
        raise Broken("it has no picture in it")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Header(format=picture_format, width=width, height=height, lossless=lossless)


def jpeg_2000(data: bytes) -> Header:
    """A file (JP2) or the codestream alone."""
    if data.startswith(_SOC):
        return _codestream(data, 0, len(data))
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"jp2c":
            return _codestream(data, start, end)
    raise Broken("it has no picture in it")


def _codestream(data: bytes, at: int, end: int) -> Header:
    # Packet data contains no marker above 0xFF8F, so that this one is the end.
    if data.rfind(_EOC, at, end) < 0:
        raise Truncated
    size: tuple[int, int] | None = None
    bits, lossless = 8, False
    at += 2
    for _ in range(MOST_PARTS):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _SIZ:
            right, bottom, left, top = struct.unpack_from(">4I", data, at + 6)
            size = (max(0, right - left), max(0, bottom - top))
            bits = (data[at + 40] & 0x7F) + 1
        elif marker == _COD:
            lossless = data[at + 13] == 1  # the reversible wavelet (5-3)
        elif marker == _SOT:
            break
        at += 2 + length
    if size is None:
        raise Broken("it does not begin with its size")
    return Header(format="JPEG 2000", width=size[0], height=size[1], bits=bits, lossless=lossless)


def _inside(data: bytes, at: int, end: int, *path: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The boxes in the first box of each name of ``path``, one inside the other."""
    for name in path:
        at, end = next(
            ((start, stop) for kind, start, stop in _boxes(data, at, end) if kind == name),
            (end, end),
        )
    yield from _boxes(data, at, end)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the content of each box. Raises Truncated for one that is longer than its container."""
    for _ in range(MOST_PARTS):
        if at >= end:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            length, start = struct.unpack_from(">Q", data, start)[0], start + 8
        stop = at + length if length else end
        if stop > end:
            raise Truncated
        if stop < start:
            raise Broken("a part of it is shorter than its head")
        yield kind, start, stop
        at = stop
    raise Broken("it has too many parts")
