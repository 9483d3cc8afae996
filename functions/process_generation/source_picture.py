"""A source picture as models take it: a JPEG, PNG or WebP, upright, of 8 bits, in RGB or grey. Anything else by name.

An ordinary one goes on byte for byte and is not decoded. What is turned (EXIF), deep (16 bits) or printed (CMYK) is
made right, two at a time in this process: a raster takes 4 bytes a pixel, several times over.
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
"""Above this one is made right alone; a WebP is not, as Pillow decodes it with the GIL held: 10 ms a megapixel."""
LARGEST_PROFILE_BYTES = 1024 * 1024
"""Pillow's own limit."""

# Threads of their own, so that neither name look-ups nor files wait for them; and no semaphore of asyncio's: that is of
# one event loop, and would let the next one in when a caller is cancelled while its thread still runs.
_DECODERS = ThreadPoolExecutor(AT_ONCE, "decode")
_alone = threading.Lock()
# Rasters in pieces that malloc maps one by one: those below 32 MiB glibc keeps in its threads' arenas, and the
# process stays 800 MB larger after a picture of 64 megapixels.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]

# By their classes: Image.open looks through all plugins, takes a JPEG with a second picture for an MPO, and has limits.
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


async def made_right(data: bytes, most_pixels: int) -> tuple[bytes, str]:
    """The picture that is sent, and its format: jpeg, png or webp.

    Raises InvalidRequest, which names what is not taken, and Broken.
    """
    header = await asyncio.to_thread(_checked, data, most_pixels)
    if header.orientation == 1 and header.bits <= 8 and not header.inks:
        return data, header.format
    return await asyncio.get_running_loop().run_in_executor(_DECODERS, _right, data, header)


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


def _right(data: bytes, header: Header) -> tuple[bytes, str]:
    """Decoded and encoded anew. Raises Broken."""
    if header.pixels <= LARGE_PIXELS:
        return _encoded(_decoded(data, header), header)
    with _alone:
        return _encoded(_decoded(data, header), header)


def _decoded(data: bytes, header: Header) -> Image.Image:
    """Upright, of 8 bits, in RGB, RGBA or L; its ``info`` has a colour profile at most."""
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
    except Exception:  # noqa: BLE001 - whatever a decoder breaks with, it is the file that is broken
        raise Broken("it cannot be decoded") from None
    plain.info = {"icc_profile": profile} if profile else {}
    return plain


def _in_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """By its own profile where that makes sense: the same inks are other colours on other paper."""
    try:
        if profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
    except (ImageCms.PyCMSError, OSError):
        pass  # a profile of something else
    return image.convert("RGB")


def _encoded(image: Image.Image, header: Header) -> tuple[bytes, str]:
    """In its own format; a WebP as PNG with alpha, else as JPEG: libwebp refuses some large and busy pictures."""
    file = io.BytesIO()
    profile = image.info.get("icc_profile")
    if header.format == "png" or image.mode == "RGBA":
        image.save(file, "PNG", compress_level=1, icc_profile=profile)
        return file.getvalue(), "png"
    image.save(file, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    return file.getvalue(), "jpeg"


def _without_texts(data: bytes, header: Header) -> bytes:
    """A PNG reduced to what is drawn: Pillow unfolds its texts, and refuses it for a long one or a wrong checksum."""
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
    """Whether an iCCP chunk unfolds to more than a profile has."""
    packed = profile.partition(b"\0")[2][1:]
    try:
        unfolded = zlib.decompressobj().decompress(packed, LARGEST_PROFILE_BYTES + 1)
    except zlib.error:
        return True
    return len(unfolded) > LARGEST_PROFILE_BYTES


def _unsupported(name: str, instead: str = SEND) -> InvalidRequest:
    return InvalidRequest(f"source_image_url: {name} is not supported: {instead}")
