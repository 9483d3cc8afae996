"""Sources in formats that models do not read are sent as PNG or JPEG; pixels are compared."""

import io
import struct
import zlib

import pytest
from PIL import Image

from functions._shared.errors import InvalidRequest
from functions.process_generation.normalise import normalised
from tests.conftest import Edge
from tests.functions._shared.pictures.pictures import (
    QUARTERS,
    UPRIGHT,
    chunk,
    corners,
    encoded,
    heic,
    opened,
    turned,
)
from tests.functions._shared.pictures.test_converted import BOMBS, FOREIGN, LOSSLESS, SECOND
from tests.functions._shared.pictures.test_own_addresses import BUCKET, put
from tests.functions.process_generation.test_source_pictures import MOST, ask, sent
from tests.help import BANANA

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_source_is_sent_without_a_loss_where_it_had_none(name):
    source = await normalised(FOREIGN[name], MOST)
    lossless = FOREIGN[name] in LOSSLESS.values()
    assert (source.format, source.note) == ("png" if lossless else "jpeg", None)
    image = opened(source.data)
    assert (image.size, corners(image)) == ((64, 48), UPRIGHT)
    if lossless:
        assert image.convert("RGB").tobytes() == QUARTERS.tobytes()


@pytest.mark.parametrize("name", ["AVIF", "HEIC", "BMP, lossless", "TIFF with JPEG"])
def test_it_is_sent_by_its_new_type(idle_edge: Edge, sandbox, name):
    answer = ask(idle_edge, FOREIGN[name])
    assert answer.status_code == 200, answer.text
    assert corners(sent(sandbox)) == UPRIGHT


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("picture_format", ["TIFF", "AVIF", "HEIC", "MPO"])
async def test_a_turned_one_is_sent_upright(picture_format, orientation):
    image, exif = turned(QUARTERS, orientation)
    if picture_format == "HEIC":
        data = heic(image, exif=exif.tobytes(), quality=90)
    else:
        more = SECOND if picture_format == "MPO" else {}
        data = encoded(image, picture_format, exif=exif, **more)
    right = opened((await normalised(data, MOST)).data)
    assert (right.size, corners(right)) == ((64, 48), UPRIGHT)
    assert right.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("picture_format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_sent_and_told(idle_edge: Edge, sandbox, picture_format):
    answer = ask(idle_edge, encoded(QUARTERS, picture_format, duration=100, **SECOND))
    assert answer.status_code == 200, answer.text
    image = sent(sandbox)
    assert getattr(image, "n_frames", 1) == 1
    assert corners(image) == UPRIGHT
    assert "source_image_url: sent the first of its 2 frames" in answer.json()["adjustments"]


async def test_a_single_gif_and_transparency():
    clear = QUARTERS.convert("P")
    source = await normalised(encoded(clear, "GIF", transparency=clear.getpixel((1, 1))), MOST)
    image = opened(source.data)
    assert (source.format, source.note, image.mode) == ("png", None, "RGBA")
    assert [image.getpixel(spot)[3] for spot in ((1, 1), (60, 1))] == [0, 255]


DEEP = Image.new("I;16", (3, 1))
DEEP.putdata([0, 0x8000, 0xFFFF])


@pytest.mark.parametrize("picture_format", ["TIFF", "JPEG2000", "PNG"])
async def test_16_bits_become_8(picture_format):
    source = await normalised(encoded(DEEP, picture_format), MOST)
    assert source.format == "png"
    assert list(opened(source.data).tobytes()) == [0, 128, 255]


async def test_16_bits_of_colour_become_8():
    colours = [(0xFFFF, 0, 0x8000), (0, 0x1234, 0xFFFF)]
    raster = b"\0" + b"".join(struct.pack(">HHH", *colour) for colour in colours)
    size = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = [chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(raster)), chunk(b"IEND", b"")]
    source = await normalised(b"\x89PNG\r\n\x1a\n" + b"".join(chunks), MOST)
    assert list(opened(source.data).tobytes()) == [255, 0, 128, 0, 0x12, 255]


@pytest.mark.parametrize("picture_format", BOMBS)
async def test_above_the_limit_the_reason_is_the_pixels(picture_format):
    with pytest.raises(InvalidRequest, match="the picture has 3600 megapixels, at most 64 are"):
        await normalised(BOMBS[picture_format], MOST)


AT_AN_ADDRESS = {
    "no picture": (b"<!doctype html><title>Sign in</title>", 400, "it is no picture"),
    "an empty file": (b"", 400, "it is no picture"),
    "cut": (encoded(QUARTERS, "PNG")[:-20], 500, "it ends early"),
    "cut AVIF": (FOREIGN["AVIF"][:-20], 500, "it ends early"),
    "broken": (FOREIGN["AVIF"][:-60] + bytes(60), 400, "it cannot be decoded"),
}


@pytest.mark.parametrize("name", AT_AN_ADDRESS)
def test_at_an_address_only_a_cut_file_may_mend(idle_edge: Edge, sandbox, name):
    """Perhaps it is still being uploaded; no other kind of file becomes a picture by itself."""
    data, status, why = AT_AN_ADDRESS[name]
    put(idle_edge, BUCKET, data)
    url = f"{idle_edge.url}/storage/v1/object/public/{BUCKET}/a.png"
    body = {"prompt": "x", "model_id": BANANA, "source_image_url": url}
    answer = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert (answer.status_code, answer.json()["error"]) == (
        status,
        f"source_image_url: the file is not a whole picture: {why}",
    )
    assert not sandbox.state.predictions


async def test_cmyk_and_palettes_in_tiff():
    for image in (QUARTERS.convert("CMYK"), QUARTERS.convert("P"), QUARTERS.convert("YCbCr")):
        right = opened((await normalised(encoded(image, "TIFF"), MOST)).data)
        assert (right.mode, corners(right)) == ("RGB", UPRIGHT)


async def test_a_large_turned_webp_is_taken():
    """Its decoder holds the GIL: in the child's process."""
    image, exif = turned(Image.new("RGB", (5000, 3400), "red"), 6)
    source = await normalised(encoded(image, "WEBP", exif=exif, method=0), MOST)
    assert Image.open(io.BytesIO(source.data)).size == (5000, 3400)


async def test_heic_without_its_extra_is_refused_by_its_name(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    text = (
        "source_image_url: HEIC is not supported by this server, which lacks the extra heic:"
        " send JPEG, PNG or WebP"
    )
    with pytest.raises(InvalidRequest) as refused:
        await normalised(FOREIGN["HEIC"], MOST)
    assert str(refused.value) == text
    with pytest.raises(InvalidRequest, match="AVIF is not supported: send JPEG, PNG or WebP"):
        await normalised(FOREIGN["AVIF"], MOST)
