"""Deterministic drawing: hills under a low sun, with the prompt written on the sky.

Layout and colours are computed once, into a ``Scene``, which Pillow (raster formats) or SVG renders.
"""

import colorsys
import functools
import html
import io
import math
import random
import textwrap
import unicodedata
from dataclasses import dataclass
from typing import cast

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]

_MEGAPIXEL = 1024 * 1024
_LONGEST_PROMPT = 600  # characters; a longer prompt is truncated with an ellipsis
_WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Scene:
    """The layout of one picture in pixels, y axis down. ``lines``: the wrapped prompt, none empty."""

    width: int
    height: int
    sky: tuple[Colour, Colour, Colour]  # top, middle, horizon
    sun: tuple[float, float, float]  # centre x, centre y, radius
    sun_colour: Colour
    hills: list[tuple[Colour, list[Point]]]  # closed polygons, far to near
    lines: list[str]
    text_size: int
    footer: str
    footer_size: int

    @property
    def first_baseline(self) -> float:
        """y of the first line of text. The block is centred on the upper part of the sky, clear of the sun."""
        return self.height * 0.31 - (len(self.lines) - 1) / 2 * self.leading + self.text_size * 0.35

    @property
    def leading(self) -> float:
        """Distance from baseline to baseline in pixels."""
        return self.text_size * 1.25


def draw(
    *, prompt: str, model: str, seed: int, width: int, height: int, image_format: str
) -> bytes:
    """Return the bytes of the picture file; deterministic, equal arguments give equal bytes.

    ``image_format`` is webp, png, jpg, jpeg or svg; the sides are pixels. CPU-bound, about 50 ms for a
    megapixel: call from a worker thread.
    """
    scene = _compose(prompt, model, seed, width, height)
    if image_format == "svg":
        return _to_svg(scene).encode()
    picture, file = _to_image(scene), io.BytesIO()
    if image_format == "webp":
        picture.save(file, "WEBP", quality=80, method=0)
    elif image_format == "png":
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, "JPEG", quality=88)
    return file.getvalue()


def _compose(prompt: str, model: str, seed: int, width: int, height: int) -> Scene:
    # The palette depends on model and seed only, so that a series of prompts with one seed shares its colours.
    rng = random.Random(f"{model} {seed}")  # noqa: S311 - a picture, not a secret
    hue = rng.random()
    side = min(width, height)
    lines, text_size = _fit_text(prompt, width * 0.84, height * 0.44, side)
    footer, footer_size = f"sandbox · {model}", max(8, round(side * 0.024))
    if _font(footer_size).getlength(footer) > width:
        footer = "sandbox"
    return Scene(
        width=width,
        height=height,
        sky=(
            _colour(hue, 0.72, 0.30),
            _colour(hue + 0.05, 0.60, 0.58),
            _colour(hue + 0.13, 0.42, 0.97),
        ),
        sun=(
            width * rng.uniform(0.18, 0.82),
            height * rng.uniform(0.66, 0.71),
            side * rng.uniform(0.09, 0.14),
        ),
        sun_colour=_colour(hue + 0.16, 0.16, 1.0),
        hills=[_hill(rng, hue, depth, width, height) for depth in (0.0, 0.33, 0.66, 1.0)],
        lines=lines,
        text_size=text_size,
        footer=footer,
        footer_size=footer_size,
    )


def _hill(
    rng: random.Random, hue: float, depth: float, width: int, height: int
) -> tuple[Colour, list[Point]]:
    """The polygon of one ridge, a sum of sine waves; ``depth`` 0 is far and pale, 1 near and dark."""
    base = height * (0.71 + 0.17 * depth)
    waves = [
        (height * 0.05 / n, n * rng.uniform(0.7, 1.3), rng.uniform(0, math.tau)) for n in (1, 2, 4)
    ]

    def ridge(x: float) -> float:
        angle = math.tau * x / max(width, height)
        return base + sum(high * math.sin(often * angle + at) for high, often, at in waves)

    xs = [width * step / 96 for step in range(97)]
    shape = [(0.0, float(height)), *((x, ridge(x)) for x in xs), (float(width), float(height))]
    return _colour(hue + 0.07 - 0.07 * depth, 0.48 + 0.27 * depth, 0.72 - 0.54 * depth), shape


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # load_default returns the scalable font whenever a size is given; its declared type covers calls without one.
    return cast("ImageFont.FreeTypeFont", ImageFont.load_default(size=size))


def _fit_text(prompt: str, width: float, height: float, side: int) -> tuple[list[str], int]:
    """Lines and font size: the largest size that shows the whole prompt, else truncated in the smallest."""
    shown = prompt if len(prompt) <= _LONGEST_PROMPT else f"{prompt[:_LONGEST_PROMPT]}…"
    text = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
    smallest = max(8, round(side * 0.03))
    for size in range(round(side * 0.085), smallest, -max(1, side // 200)):
        lines = _wrap(text, size, width, height)
        if "".join(lines).count("…") == text.count("…"):
            return lines, size
    return _wrap(text, smallest, width, height), smallest


def _wrap(text: str, size: int, width: float, height: float) -> list[str]:
    """Break ``text`` into lines that fit ``width``; beyond ``height`` truncate with an ellipsis."""
    rows = max(1, int(height / (size * 1.25)))
    columns = max(1, int(width / (_font(size).getlength("nature ") / 7)))
    while True:
        lines = textwrap.wrap(text, columns, max_lines=rows, placeholder="…")
        widest = max((_font(size).getlength(_plain(line)) for line in lines), default=0)
        if widest <= width or columns == 1:
            return lines
        columns -= 1


def _plain(text: str) -> str:
    """Replace the glyphs that Pillow's built-in font lacks: accents are dropped, dashes become hyphens."""
    letters = unicodedata.normalize("NFKD", text.replace("…", "\0"))
    bare = "".join(c for c in letters if not unicodedata.combining(c)).replace("\0", "…")
    return bare.translate({0x2013: "-", 0x2014: "-", 0x2011: "-", 0x2212: "-"})


def _to_image(scene: Scene) -> Image.Image:
    sky = Image.new("RGB", (1, 3))
    sky.putdata(scene.sky)
    # Supersampling, as Pillow draws polygons without antialiasing: draw at twice the size, then average. Above two
    # megapixels jagged edges are too small to see, and the enlarged picture would cost too much memory.
    scale = 2 if scene.width * scene.height <= 2 * _MEGAPIXEL else 1
    large = (scene.width * scale, scene.height * scale)
    picture = sky.resize(large, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture, "RGBA")
    x, y, radius = (measure * scale for measure in scene.sun)
    for share, alpha in ((2.6, 22), (1.8, 34), (1.0, 255)):
        extent = radius * share
        pen.ellipse((x - extent, y - extent, x + extent, y + extent), (*scene.sun_colour, alpha))
    for colour, shape in scene.hills:
        pen.polygon([(x * scale, y * scale) for x, y in shape], colour)
    picture = picture.reduce(scale)

    pen = ImageDraw.Draw(picture, "RGBA")
    drop = max(1, scene.text_size // 24)
    for offset, ink in ((drop, (0, 0, 0, 110)), (0, (*_WHITE, 255))):
        for row, line in enumerate(scene.lines):
            at = (scene.width / 2 + offset, scene.first_baseline + row * scene.leading + offset)
            pen.text(at, _plain(line), ink, _font(scene.text_size), anchor="ms")
    at = (scene.width / 2, scene.height * 0.965)
    pen.text(at, scene.footer, (*_WHITE, 190), _font(scene.footer_size), anchor="ms")
    return picture


def _to_svg(scene: Scene) -> str:
    x, y, radius = scene.sun
    middle = scene.width / 2
    font = 'font-family="Helvetica, Arial, sans-serif" text-anchor="middle" fill="#fff"'
    stops = "".join(
        f'<stop offset="{share}" stop-color="rgb{colour}"/>'
        for share, colour in zip((0, 0.5, 1), scene.sky, strict=True)
    )
    suns = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius * share:.1f}" '
        f'fill="rgb{scene.sun_colour}" fill-opacity="{alpha}"/>'
        for share, alpha in ((2.6, 0.09), (1.8, 0.13), (1.0, 1))
    )
    hills = "".join(
        f'<polygon fill="rgb{colour}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in shape)}"/>'
        for colour, shape in scene.hills
    )
    text = "".join(
        f'<text x="{middle}" y="{scene.first_baseline + row * scene.leading:.1f}" '
        f'font-size="{scene.text_size}" {font}>{html.escape(line)}</text>'
        for row, line in enumerate(scene.lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{scene.width}" height="{scene.height}" '
        f'viewBox="0 0 {scene.width} {scene.height}">'
        f'<linearGradient id="sky" x2="0" y2="1">{stops}</linearGradient>'
        f'<rect width="100%" height="100%" fill="url(#sky)"/>{suns}{hills}{text}'
        f'<text x="{middle}" y="{scene.height * 0.965:.1f}" font-size="{scene.footer_size}" '
        f'{font} fill-opacity="0.75">{html.escape(scene.footer)}</text></svg>\n'
    )
