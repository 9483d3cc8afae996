"""Small picture files of all kinds, made here: what cameras, scanners, editors and encoders write."""

import io
import struct
import zlib

from PIL import Image
from pillow_heif import from_pillow

QUARTERS = Image.new("RGB", (64, 48), "black")
QUARTERS.paste("red", (0, 0, 32, 24))
QUARTERS.paste("lime", (32, 0, 64, 24))
QUARTERS.paste("blue", (0, 24, 32, 48))
UPRIGHT = ["red", "lime", "blue", "black"]
"""``corners`` of QUARTERS."""

# How a camera that was held so stores what is QUARTERS upright: EXIF's own words for it.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(image: Image.Image, picture_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, picture_format, **options)
    return file.getvalue()


def heic(image: Image.Image, *more: Image.Image, **options: object) -> bytes:
    """An iPhone's; ``more``: pictures behind the first."""
    file, pictures = io.BytesIO(), from_pillow(image)
    for other in more:
        pictures.add_from_pillow(other)
    pictures.save(file, **options)
    return file.getvalue()


def turned(image: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """``image`` as a camera stores it, and the EXIF that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = STORED[orientation]
    return (image if turn is None else image.transpose(turn)), exif


def corners(image: Image.Image) -> list[str]:
    """The colours of the four quarters, by name."""
    width, height = image.size
    plain = image.convert("RGB")
    spots = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    names = {(1, 0, 0): "red", (0, 1, 0): "lime", (0, 0, 1): "blue", (0, 0, 0): "black"}
    return [names[tuple(round(c / 255) for c in plain.getpixel(spot))] for spot in spots]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, width: int = 8, height: int = 8, deep: bool = False, ends: bool = True):
    """A grey PNG with these chunks between its size and its raster."""
    raster = (b"\0" + bytes(width * (2 if deep else 1))) * (height if width * height < 10**6 else 1)
    size = struct.pack(">IIBBBBB", width, height, 16 if deep else 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", size), *chunks, chunk(b"IDAT", zlib.compress(raster))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + (chunk(b"IEND", b"") if ends else b"")
