"""What a picture file's structure says of it: the values that its reader returns, and how reading fails."""

import struct
from dataclasses import dataclass

MOST_PARTS = 10_000
"""Segments of a JPEG, chunks of a PNG or WebP, boxes of an ISO BMFF: more are taken for an attack on the parser."""
_ORIENTATION = 0x0112


class Broken(Exception):
    """The file is malformed. ``str(error)`` is for people."""


class Truncated(Broken):
    """The file ends early: perhaps the transfer was cut, or the file is still being uploaded."""

    def __init__(self) -> None:
        super().__init__("it ends early")


@dataclass(frozen=True, kw_only=True)
class Header:
    """``width`` and ``height`` are pixels as stored; ``orientation`` is EXIF's, 1 (upright) to 8."""

    format: str
    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    """Per sample."""
    inks: bool = False
    """Whether the colour space is CMYK or YCCK."""
    frames: int = 1
    scans: int = 1
    alpha: bool = False
    lossless: bool = False
    """Whether the compression keeps every sample, so that a conversion should."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height with the orientation applied, as a viewer shows them."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def orientation_of(exif: bytes) -> int:
    """From a TIFF header and its first directory (EXIF); 1, upright, where that is absent or malformed."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        at = struct.unpack_from(f"{order}I", exif, 4)[0]
        count = struct.unpack_from(f"{order}H", exif, at)[0]
        for entry in range(at + 2, at + 2 + 12 * min(count, 1000), 12):
            tag, kind, value = struct.unpack_from(f"{order}HH4xH", exif, entry)
            if tag == _ORIENTATION and kind == 3:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
