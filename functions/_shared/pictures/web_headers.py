"""Header and integrity of a JPEG, PNG or WebP from its structure, without decoding: decompression bombs.

A few hundred bytes may declare 13,300² pixels, whose raster takes 700 MB. The structure also shows truncation: a file
has an end marker, a PNG checksums. Text chunks, and data behind the end, are not read. Each reader may also raise
struct.error or IndexError where the file ends early: ``read_header`` translates them.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator

from functions._shared.pictures.header import (
    MOST_PARTS,
    Broken,
    Header,
    Truncated,
    orientation_of,
)

MOST_SCANS = 100
"""Scans of a progressive JPEG (decompression bomb): ten are usual; one of ten bytes makes a pass over the raster."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}


def jpeg(data: bytes) -> Header:
    """The first picture: viewers ignore what cameras append to it (MPO, a film)."""
    frame: tuple[int, int, int, int] | None = None
    orientation, scans = 1, 0
    for marker, start, end in _segments(data):
        if marker in _FRAMES:
            frame = frame or struct.unpack_from(">BHHB", data, start)
        elif marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            orientation = orientation_of(data[start + 6 : end])
        elif marker == 0xDA:
            scans += 1
    if frame is None or not scans:
        raise Broken("it has no picture in it")
    bits, height, width, components = frame
    return Header(
        format="jpeg",
        width=width,
        height=height,
        orientation=orientation,
        bits=bits,
        inks=components == 4,
        scans=scans,
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the EOI marker. Raises Broken where that is missing."""
    at = 2
    for _ in range(MOST_PARTS):
        found = _MARKER.search(data, at)
        if found is None:
            raise Truncated
        marker, at = found[0][1], found.end()
        if marker == 0xD9:
            return
        if marker in _ALONE:
            continue
        length = struct.unpack_from(">H", data, at)[0]
        yield marker, at + 2, at + length
        at += length  # a scan's entropy-coded data follows its header: it contains no marker
    raise Broken("it has too many parts")


def png(data: bytes) -> Header:
    header: tuple[int, int, int, int] | None = None
    orientation, frames, alpha, drawn, at = 1, 1, False, False, 8
    for _ in range(MOST_PARTS * 10):  # encoders write the raster in chunks of 8 KiB
        length, kind = struct.unpack_from(">I4s", data, at)
        start, end = at + 8, at + 8 + length
        checksum = struct.unpack_from(">I", data, end)[0]
        if not kind[0] & 0x20 and zlib.crc32(memoryview(data)[at + 4 : end]) != checksum:
            raise Broken(
                "a checksum in it is wrong"
            )  # of critical chunks only: ancillary ones (texts) do not matter
        if header is None and kind != b"IHDR":
            raise Broken("it does not begin with its size")
        match kind:
            case b"IHDR" if header is not None:
                raise Broken("it has two sizes")
            case b"IHDR":
                header = struct.unpack_from(">IIBB", data, start)
                alpha = bool(header[3] & 4)
            case b"tRNS":
                alpha = True
            case b"acTL":
                frames = struct.unpack_from(">I", data, start)[0]
            case b"eXIf":
                orientation = orientation_of(data[start:end])
            case b"IDAT":
                drawn = True
            case b"IEND":
                break
        at = end + 4
    else:
        raise Broken("it has too many parts")
    if header is None or not drawn:
        raise Broken("it has no picture in it")
    return Header(
        format="png",
        width=header[0],
        height=header[1],
        orientation=orientation,
        bits=header[2],
        frames=frames,
        alpha=alpha,
        lossless=True,
    )


def webp(data: bytes) -> Header:
    whole = 8 + struct.unpack_from("<I", data, 4)[0]
    if whole > len(data):
        raise Truncated
    sizes: list[tuple[int, int]] = []  # of the canvas and of the picture, which should be equal
    orientation, frames, alpha, drawn, lossless, at = 1, 0, False, False, False, 12
    for _ in range(MOST_PARTS):
        if at + 8 > whole:
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        start = at + 8
        match kind:
            case b"VP8X":
                sizes.append((_u24(data, start + 4) + 1, _u24(data, start + 7) + 1))
                alpha = bool(data[start] & 0x10)
            case b"VP8 ":
                across, down = struct.unpack_from("<HH", data, start + 6)
                sizes.append((across & 0x3FFF, down & 0x3FFF))
                drawn = True
            case b"VP8L":
                packed = struct.unpack_from("<I", data, start + 1)[0]
                sizes.append(((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1))
                alpha, drawn, lossless = alpha or bool(packed >> 28 & 1), True, True
            case b"ANMF":
                frames, drawn = frames + 1, True
            case b"EXIF":
                exif = data[start : start + length].removeprefix(b"Exif\0\0")
                orientation = orientation_of(exif)
        at = start + length + (length & 1)
    if not sizes or not drawn or at > whole + 1:
        raise Broken("it has no whole picture in it")
    width, height = max(sizes, key=math.prod)
    return Header(
        format="webp",
        width=width,
        height=height,
        orientation=orientation,
        frames=max(1, frames),
        alpha=alpha,
        lossless=lossless,
    )


def _u24(data: bytes, at: int) -> int:
    if at + 3 > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + 3], "little")
