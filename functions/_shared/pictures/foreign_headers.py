"""Header and integrity of a GIF, BMP or TIFF from its structure, without decoding; raises as ``web_headers.py``."""

import struct

from functions._shared.pictures.header import Broken, Header, Truncated

MOST_BLOCKS = 400_000
"""Sub-blocks of a GIF. They hold up to 255 bytes, and encoders fill them: 50 MiB are 206,000."""
MOST_TAGS = 1000
_LOSSY_TIFF = {6, 7, 33003, 33005, 34892, 34933, 50001, 50002}
"""Values of the tag Compression: JPEG, JPEG 2000, WebP, JPEG XL."""
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLE_FORMAT = 256, 257, 258, 259, 339


def gif(data: bytes) -> Header:
    """``width`` and ``height`` are the logical screen's, enlarged to its first frame."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames, blocks = 13 + _colours(flags), 0, 0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x21:
            at += 2
        elif data[at] == 0x2C:
            left, top, across, down, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if not frames:
                width, height = max(width, left + across), max(height, top + down)
            frames += 1
            at += 11 + _colours(flags)
        else:
            raise Broken("a part of it is unknown")
        while length := data[at]:
            at, blocks = at + 1 + length, blocks + 1
            if blocks > MOST_BLOCKS:
                raise Broken("it has too many parts")
        at += 1
    if not frames:
        raise Broken("it has no picture in it")
    return Header(format="gif", width=width, height=height, frames=frames, lossless=True)


def _colours(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def bmp(data: bytes) -> Header:
    start, kind = struct.unpack_from("<II", data, 10)
    if kind == 12:
        width, height, bits = struct.unpack_from("<HH2xH", data, 18)
        compression = 0
    else:
        width, height, bits, compression = struct.unpack_from("<ii2xHI", data, 18)
    height = abs(height)  # negative: stored from the top down
    if width < 0 or bits not in {1, 2, 4, 8, 16, 24, 32}:
        raise Broken("its size makes no sense")
    if compression in {0, 3} and start + (width * bits + 31) // 32 * 4 * height > len(data):
        raise Truncated
    return Header(format="BMP", width=width, height=height, lossless=True)


def tiff(data: bytes) -> Header:
    """The first page."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    at = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, at)[0]
    at += 8 if big else 2
    tags = {}
    for entry in range(min(count, MOST_TAGS)):
        tag, values = _tag(data, at + entry * (20 if big else 12), order, big=big)
        tags[tag] = values
    width, height = tags.get(_WIDTH), tags.get(_HEIGHT)
    if not width or not height:
        raise Broken("it has no picture in it")
    # Samples of floating point (format 3) count as deeper than any integer: no range is known.
    floating = 3 in tags.get(_SAMPLE_FORMAT, ())
    return Header(
        format="TIFF",
        width=width[0],
        height=height[0],
        bits=max((32 if floating else 1, *tags.get(_BITS, ()))),
        lossless=not _LOSSY_TIFF.intersection(tags.get(_COMPRESSION, ())),
    )


def _tag(data: bytes, at: int, order: str, *, big: bool) -> tuple[int, tuple[int, ...]]:
    """A tag and its integers, at most four; empty for another type."""
    tag, kind, count = struct.unpack_from(f"{order}HHQ" if big else f"{order}HHI", data, at)
    if kind not in _TIFF_TYPES or not count:
        return tag, ()
    kinds = f"{order}{min(count, 4)}{_TIFF_TYPES[kind]}"
    at += 12 if big else 8
    if count * struct.calcsize(f"{order}{_TIFF_TYPES[kind]}") > (8 if big else 4):
        at = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, at)[0]
    return tag, struct.unpack_from(kinds, data, at)
