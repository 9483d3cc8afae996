"""The header of any format that is stored or converted, from the file's structure: nothing is decoded."""

import struct
from collections.abc import Callable, Mapping

from functions._shared.pictures import foreign_headers, iso_headers, web_headers
from functions._shared.pictures.header import Broken, Header, Truncated

MAX_SIDE = 2**31 - 1
"""PNG's own bound; beyond it a size does not fit into the integer columns of its images row."""

_READERS: Mapping[str, Callable[[bytes], Header]] = {
    "jpeg": web_headers.jpeg,
    "png": web_headers.png,
    "webp": web_headers.webp,
    "gif": foreign_headers.gif,
    "BMP": foreign_headers.bmp,
    "TIFF": foreign_headers.tiff,
    "JPEG 2000": iso_headers.jpeg_2000,
    "AVIF": iso_headers.avif,
    "HEIC": iso_headers.heic,
}


def read_header(data: bytes, picture_format: str) -> Header:
    """The header of a complete file; ``picture_format`` as ``format_of`` names it. Raises Broken, Truncated."""
    try:
        header = _READERS[picture_format](data)
    except (
        struct.error,
        IndexError,
        OverflowError,
    ):  # a place in it is beyond its end, or beyond 2^63
        raise Truncated from None
    if not header.pixels:
        raise Broken("it has no pixels")
    if max(header.shown) > MAX_SIDE:
        raise Broken("its size makes no sense")
    return header
