"""Normalise a source picture for the models: JPEG, PNG or WebP, upright, 8 bits a channel, RGB or grey; refuse others.

An ordinary picture is sent byte for byte and not decoded. One that is rotated (EXIF), deep (16 bits) or CMYK is decoded
and encoded anew, two at a time in this process: a raster takes 4 bytes a pixel, several times over.
"""

import asyncio
import io
import struct
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from functions._shared.errors import InvalidRequest
from functions._shared.pictures.formats import CONTENT_TYPES, format_of
from functions._shared.pictures.headers import MOST_SCANS, Broken, Header, read_header

TAKEN = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
SEND = "send JPEG, PNG or WebP"
AT_ONCE = 2
LARGE_PIXELS = 16_000_000
"""Above this a picture is decoded alone; a rotated WebP is refused: its decoder holds the GIL for 10 ms a megapixel."""
LARGEST_PROFILE_BYTES = 1024 * 1024
"""Of a decompressed colour profile; Pillow's own limit."""

# A thread pool of their own (bulkhead): DNS look-ups and files use asyncio's default pool. Not an asyncio.Semaphore: it
# belongs to one event loop, and is released when a caller is cancelled while its thread still decodes.
_DECODERS = ThreadPoolExecutor(AT_ONCE, "decode")
_LARGE = threading.Lock()
# Memory fragmentation: glibc keeps blocks below 32 MiB in per-thread arenas, so the process stays 800 MB larger after a
# picture of 64 megapixels. Larger blocks are mapped one by one (mmap) and returned.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]

# Not Image.open: it tries every plugin (attack surface), takes a JPEG with a second picture for an MPO, and has limits.
_READERS: Mapping[str, Callable[[io.BytesIO], Image.Image]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_KEPT_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"}


async def normalised(data: bytes, most_pixels: int) -> tuple[bytes, str]:
    """The picture that is sent, and its format: jpeg, png or webp.

    Raises InvalidRequest for an unsupported picture, naming why, and Broken.
    """
    header = await asyncio.to_thread(_checked, data, most_pixels)
    if header.orientation == 1 and header.bits <= 8 and not header.inks:
        return data, header.format
    return await asyncio.get_running_loop().run_in_executor(_DECODERS, _reencoded, data, header)


def _checked(data: bytes, most_pixels: int) -> Header:
    found = format_of(data)
    if found and found not in TAKEN:
        raise _unsupported(found.upper() if found in CONTENT_TYPES else found)
    if not found:
        raise Broken("it is no picture")
    header = read_header(data, found)
    if header.pixels > most_pixels:
        raise InvalidRequest(
            f"source_image_url: the picture has {header.pixels / 1e6:.4g} megapixels,"
            f" at most {most_pixels / 1e6:.4g} are taken"
        )
    if header.frames > 1:
        raise _unsupported(f"an animated {TAKEN[found]}", "send a single picture")
    if found == "jpeg" and header.bits != 8:
        raise _unsupported(f"a JPEG of {header.bits} bits")
    if header.scans > MOST_SCANS:
        raise _unsupported(f"a JPEG of {header.scans} scans")
    if found == "webp" and header.orientation != 1 and header.pixels > LARGE_PIXELS:
        raise _unsupported("a turned WebP of more than 16 megapixels", "send it upright")
    return header


def _reencoded(data: bytes, header: Header) -> tuple[bytes, str]:
    """Decoded, normalised and encoded anew. Raises Broken."""
    if header.pixels <= LARGE_PIXELS:
        return _encoded(_decoded(data, header), header)
    with _LARGE:
        return _encoded(_decoded(data, header), header)


def _decoded(data: bytes, header: Header) -> Image.Image:
    """Upright, 8 bits a channel, mode RGB, RGBA or L; ``info`` holds a colour profile or nothing. Raises Broken."""
    try:
        with _READERS[header.format](io.BytesIO(_without_texts(data, header))) as image:
            image.load()
            profile = image.info.get("icc_profile")
            if image.mode == "CMYK":
                plain, profile = _in_rgb(image, profile), None
            elif image.mode.startswith("I"):
                plain = image.point(lambda value: value * (1 / 256)).convert("L")  # convert clips
            else:
                grey = image.mode in {"1", "L", "LA"}
                plain = image.convert("RGBA" if header.alpha else "L" if grey else "RGB")
        if header.orientation in _TURNS:
            plain = plain.transpose(_TURNS[header.orientation])
    except Exception:  # noqa: BLE001 - decoders raise errors of any class for a broken file
        raise Broken("it cannot be decoded") from None
    plain.info = {"icc_profile": profile} if profile else {}
    return plain


def _in_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK → RGB by the embedded colour profile (inks differ from paper to paper), else by Pillow's formula."""
    try:
        if profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
    except (ImageCms.PyCMSError, OSError):
        pass  # no profile of a CMYK device
    return image.convert("RGB")


def _encoded(image: Image.Image, header: Header) -> tuple[bytes, str]:
    """JPEG and PNG stay; WebP becomes PNG with alpha, else JPEG, as libwebp refuses some large and busy pictures."""
    file = io.BytesIO()
    profile = image.info.get("icc_profile")
    if header.format == "png" or image.mode == "RGBA":
        image.save(file, "PNG", compress_level=1, icc_profile=profile)
        return file.getvalue(), "png"
    image.save(file, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    return file.getvalue(), "jpeg"


def _without_texts(data: bytes, header: Header) -> bytes:
    """A PNG without text chunks: Pillow decompresses them (a decompression bomb), and refuses long or damaged ones."""
    if header.format != "png":
        return data
    parts, at = [data[:8]], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in _KEPT_CHUNKS and not (kind == b"iCCP" and _is_long(data[at + 8 : end - 4])):
            parts.append(data[at:end])
        if kind == b"IEND":
            break
        at = end
    return b"".join(parts)


def _is_long(profile: bytes) -> bool:
    """Whether an iCCP chunk is a decompression bomb, or damaged."""
    packed = profile.partition(b"\0")[2][1:]
    try:
        unfolded = zlib.decompressobj().decompress(packed, LARGEST_PROFILE_BYTES + 1)
    except zlib.error:
        return True
    return len(unfolded) > LARGEST_PROFILE_BYTES


def _unsupported(name: str, instead: str = SEND) -> InvalidRequest:
    return InvalidRequest(f"source_image_url: {name} is not supported: {instead}")
