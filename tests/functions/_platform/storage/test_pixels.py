"""Pictures as they come: every mode, turned, animated, damaged, with metadata that must not be passed on."""

import io
import random

import pytest
from PIL import Image

from functions._platform.storage.errors import StorageError
from functions._platform.storage.transform import transformed
from functions._platform.storage.transformations import Transformation


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def render(tmp_path):
    def rendered(
        data: bytes, width=None, height=None, resize="cover", kind=None, max_pixels=10**8
    ) -> Image.Image:
        file = tmp_path / "source"
        file.write_bytes(data)
        asked = Transformation(width, height, resize, 80, kind)
        return Image.open(io.BytesIO(transformed(file, asked, max_pixels)[0]))

    return rendered


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("kind", [None, "WEBP", "AVIF"])
def test_modes_of_png(render, mode, kind):
    grey = Image.linear_gradient("L").resize((64, 32))
    image = (
        grey.convert("I").point(lambda value: value * 257).convert(mode)
        if mode.startswith("I")
        else grey.convert(mode)
    )
    small = render(encoded(image, "PNG"), width=16, kind=kind)
    assert small.size == (16, 8)
    middle = small.convert("L").getpixel((8, 4))
    assert isinstance(middle, int)
    assert abs(middle - 144) < 40  # not white, as 16 bits that are clipped would be


def test_palettes_are_resampled(render):
    """Pillow takes the nearest pixel for palettes: stripes of one pixel would be black or white, not grey."""
    stripes = Image.new("L", (64, 8))
    stripes.putdata([255 * (x % 2) for _ in range(8) for x in range(64)])
    small = render(encoded(stripes.convert("P"), "PNG"), width=16).convert("L")
    assert 100 < small.getpixel((8, 1)) < 155


def test_cmyk(render):
    small = render(encoded(Image.new("CMYK", (64, 32)), "JPEG"), width=16)
    assert (small.size, small.mode) == ((16, 8), "RGB")


@pytest.mark.parametrize(
    ("box", "size"),
    [((500, 100), (500, 100)), ((500, None), (500, 1000)), ((None, 100), (50, 100))],
)
def test_a_picture_that_is_stored_sideways(render, box, size):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (1000, 500)), "JPEG", exif=exif)
    assert render(data, *box).size == size


def test_a_photograph_is_decoded_at_a_fraction_of_its_size(render, monkeypatch):
    drafts = []
    monkeypatch.setattr(
        "PIL.JpegImagePlugin.JpegImageFile.draft",
        lambda self, mode, size: drafts.append(size),
    )
    render(encoded(Image.new("RGB", (1600, 800)), "JPEG"), width=100)
    assert drafts == [(100, 50)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_no_metadata_is_passed_on_but_the_colour_profile(render, kind):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010E] = "secret place"
    data = encoded(
        Image.new("RGB", (64, 32)),
        kind,
        exif=exif,
        icc_profile=b"profile",
        comment=b"secret place",
        xmp=b"secret place",
    )
    assert b"secret place" in data
    small = render(data, width=16)
    assert b"secret" not in small.fp.read() + repr(small.info).encode()
    assert not small.getexif()
    assert small.info.get("icc_profile") == b"profile"


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_of_an_animation_the_first_frame(render, kind):
    frames = [Image.new("RGB", (32, 32), (n % 256, n // 256, 0)) for n in range(500)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    small = render(data, width=16)
    assert (small.size, getattr(small, "n_frames", 1)) == ((16, 16), 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_damaged_files(render, kind):
    chance, refused = random.Random(1), set[int]()  # noqa: S311 - repeatable damage
    good = encoded(Image.effect_noise((64, 32), 50).convert("RGB"), kind)
    for number in range(150):
        data = bytearray(good[: chance.randrange(1, len(good))] if number % 3 == 0 else good)
        for _ in range(chance.randrange(6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            render(bytes(data), width=16)
        except StorageError as error:
            refused.add(error.status)
    assert refused <= {400, 422}


def test_any_error_of_a_decoder_is_the_pictures(render, monkeypatch):
    def fail(*_: object) -> None:
        raise IndexError("index out of range")

    monkeypatch.setattr("PIL.Image.Image.resize", fail)
    with pytest.raises(StorageError, match="invalid or unsupported"):
        render(encoded(Image.new("RGB", (64, 32)), "PNG"), width=16)
