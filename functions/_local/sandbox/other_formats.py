"""Output files in other formats than the model's own: of cameras, scanners and animations; an SVG with a script."""

import io
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

_SCRIPTED_SVG = """<?xml version="1.0"?>
<?xml-stylesheet href="style.css" type="text/css"?>
<!DOCTYPE svg [<!ENTITY ns "http://www.w3.org/2000/svg"> <!ENTITY text "]>">]>
<svg:svg xmlns:svg="http://www.w3.org/2000/svg" width="8" height="8"
  onload="document.title = 'ran'; parent.document.title = 'ran'">
<svg:script>document.title = "ran"</svg:script><svg:rect width="8" height="8" fill="red"/></svg:svg>
"""


def in_other_format(data: bytes, name: str) -> bytes:
    """A drawn picture as the fault ``name`` has it; CPU-bound."""
    with Image.open(io.BytesIO(data)) as image:
        return _ENCODERS[name](image.convert("RGB"))


def _saved(picture_format: str, **options: Any) -> Callable[[Image.Image], bytes]:
    def save(image: Image.Image) -> bytes:
        file = io.BytesIO()
        image.save(file, picture_format, **options)
        return file.getvalue()

    return save


def _with_second(picture_format: str, **options: Any) -> Callable[[Image.Image], bytes]:
    """With a second picture behind the first: a preview (MPO), or a frame."""

    def save(image: Image.Image) -> bytes:
        second = image.transpose(Image.Transpose.ROTATE_180)
        return _saved(picture_format, save_all=True, append_images=[second], **options)(image)

    return save


def _sideways(image: Image.Image) -> bytes:
    """As a camera stores what it saw when it was held upright: EXIF orientation 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _saved("JPEG", exif=exif)(image.transpose(Image.Transpose.ROTATE_90))


def _heic(image: Image.Image) -> bytes:
    from pillow_heif import from_pillow  # the extra ``heic``

    file = io.BytesIO()
    from_pillow(image).save(file)
    return file.getvalue()


_ENCODERS: Mapping[str, Callable[[Image.Image], bytes]] = {
    "as-mpo": _with_second("MPO"),
    "as-gif": _with_second("GIF", duration=100),
    "as-moving-webp": _with_second("WEBP", duration=100),
    "as-sideways-jpeg": _sideways,
    "as-avif": _saved("AVIF"),
    "as-heic": _heic,
    "as-bmp": _saved("BMP"),
    "as-tiff": _saved("TIFF", compression="tiff_lzw"),
    "as-jpeg2000": _saved("JPEG2000"),
    "as-pdf": _saved("PDF"),
    "as-svg": lambda _: _SCRIPTED_SVG.encode("utf-16"),
}
OTHER_FORMATS = frozenset(_ENCODERS)
