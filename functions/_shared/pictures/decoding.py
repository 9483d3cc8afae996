"""Decode a picture, encode it anew: upright, 8 bits a channel, RGB or grey. Runs in a child process (``decoder.py``).

A raster takes 4 bytes a pixel, several times over; decoders are C libraries that parse untrusted bytes.
"""

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from functions._shared.pictures.formats import Purpose, format_of
from functions._shared.pictures.header import Header
from functions._shared.pictures.headers import read_header

LARGEST_PROFILE_BYTES = 1024 * 1024
"""Of a decompressed colour profile; Pillow's own limit."""
WEBP_SIDE = 16383
_ORIENTATION = 0x0112
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


class TooManyPixels(Exception):
    """The decoder finds more pixels than the header told."""


def converted(data: bytes, purpose: Purpose, most_pixels: int) -> tuple[bytes, str]:
    """The new file, and its format. Raises TooManyPixels; a broken file raises errors of any class."""
    header = read_header(data, format_of(data))
    image = decoded(data, header, most_pixels, deep=purpose == "output")
    keep = header.lossless or image.mode.endswith("A") or image.mode.startswith("I")
    profile = image.info.get("icc_profile")
    if purpose == "source":
        return _as_png(image, profile) if keep else _as_jpeg(image, profile)
    if keep or max(image.size) > WEBP_SIDE:
        return _as_png(image, profile)
    return _as_webp(image, profile)


def decoded(data: bytes, header: Header, most_pixels: int, *, deep: bool = False) -> Image.Image:
    """Mode RGB, RGBA or L, upright; ``info`` holds a colour profile or nothing. ``deep``: grey may stay of 16 bits."""
    with _READERS[header.format](io.BytesIO(_without_texts(data, header))) as image:
        if image.width * image.height > most_pixels:
            raise TooManyPixels
        image.load()
        orientation = header.orientation
        if header.format == "AVIF":  # its own turns and mirrors (irot, imir) are in there as well
            orientation = image.getexif().get(_ORIENTATION, 1)
        profile = image.info.get("icc_profile")
        if image.mode == "CMYK":
            plain, profile = _in_rgb(image, profile), None
        elif image.mode.startswith("I"):
            plain = image.copy() if deep else _in_8_bits(image)
        else:
            grey = image.mode in {"1", "L", "LA"}
            clear = header.alpha or image.has_transparency_data
            plain = image.convert("RGBA" if clear else "L" if grey else "RGB")
    if orientation in _TURNS:
        plain = plain.transpose(_TURNS[orientation])
    plain.info = {"icc_profile": profile} if profile else {}
    return plain


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, divided: ``convert`` would clip."""
    return image.point(lambda value: value * (1 / 256)).convert("L")


def _in_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK → RGB by the embedded colour profile (inks differ from paper to paper), else by Pillow's formula."""
    try:
        if profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            right = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if right is not None:
                return right
    except (ImageCms.PyCMSError, OSError):
        pass  # no profile of a CMYK device
    return image.convert("RGB")


def _as_png(image: Image.Image, profile: bytes | None) -> tuple[bytes, str]:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1, icc_profile=profile)
    return file.getvalue(), "png"


def _as_jpeg(image: Image.Image, profile: bytes | None) -> tuple[bytes, str]:
    """Not WebP: libwebp refuses some large and busy pictures."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    return file.getvalue(), "jpeg"


def _as_webp(image: Image.Image, profile: bytes | None) -> tuple[bytes, str]:
    """PNG where libwebp refuses the picture."""
    file = io.BytesIO()
    try:
        image.save(file, "WEBP", quality=92, method=2, icc_profile=profile)
    except (OSError, ValueError):
        return _as_png(image, profile)
    return file.getvalue(), "webp"


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


def _open_avif(file: io.BytesIO) -> Image.Image:
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    return AvifImagePlugin.AvifImageFile(file)


def _open_heic(file: io.BytesIO) -> Image.Image:
    """The extra ``heic``. libheif turns and mirrors by itself."""
    from pillow_heif import options
    from pillow_heif.as_plugin import HeifImageFile

    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    return HeifImageFile(file)  # type: ignore[no-untyped-call]


# Not Image.open: it tries every plugin (attack surface), takes a JPEG with a second picture for an MPO, and has limits.
_READERS: Mapping[str, Callable[[io.BytesIO], Image.Image]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "JPEG 2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "AVIF": _open_avif,
    "HEIC": _open_heic,
}
