"""Source pictures come out upright and right, or are refused by name; none drains the process."""

import asyncio
import base64
import io
import threading
import zlib

import pytest
from PIL import Image, ImageCms

from functions._shared.pictures import decoder
from functions._shared.pictures.header import Broken
from functions.process_generation.normalise import normalised
from tests.conftest import Edge
from tests.functions._shared.pictures.pictures import (
    QUARTERS,
    STORED,
    UPRIGHT,
    chunk,
    corners,
    encoded,
    png,
    turned,
)
from tests.functions._shared.pictures.test_picture_files import RED, TEXTS
from tests.help import BANANA, eventually

pytestmark = pytest.mark.slow

BODY = {"prompt": "a cat", "model_id": BANANA}
MOST = 64_000_000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def uri(data: bytes) -> str:
    return f"data:image/x;base64,{base64.b64encode(data).decode()}"


def ask(edge: Edge, data: bytes):
    body = {**BODY, "source_image_url": uri(data)}
    return edge.post("process-generation", body, edge.service_role_key)


def sent(sandbox) -> Image.Image:
    [prediction] = sandbox.state.predictions.values()
    head, _, data = prediction.input["image_input"][0].partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{image.format.lower()};base64"
    return image


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
async def test_a_turned_picture_goes_out_upright(picture_format, orientation):
    stored, exif = turned(QUARTERS, orientation)
    data = encoded(stored, picture_format, exif=exif, icc_profile=SRGB)
    source = await normalised(data, MOST)
    image = Image.open(io.BytesIO(source.data))
    assert (image.size, corners(image)) == ((64, 48), UPRIGHT)
    assert image.getexif().get(0x0112, 1) == 1
    assert image.info["icc_profile"] == SRGB, "its colours are still meant so"
    assert (source.format, source.note) == (image.format.lower(), None)
    assert (source.data == data) == (orientation == 1)


ORDINARY = {
    "jpeg": encoded(QUARTERS, "JPEG", quality=90, icc_profile=SRGB),
    "progressive": encoded(QUARTERS, "JPEG", progressive=True),
    "grey": encoded(QUARTERS.convert("L"), "JPEG"),
    "two in one": encoded(QUARTERS, "MPO", save_all=True, append_images=[RED]),
    "png": encoded(QUARTERS, "PNG"),
    "with alpha": encoded(QUARTERS.convert("RGBA"), "PNG"),
    "with a palette": encoded(QUARTERS.convert("P"), "PNG"),
    "webp": encoded(QUARTERS, "WEBP"),
    **{f"png with {name}": png(text) for name, text in TEXTS.items()},
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_picture_goes_on_byte_for_byte(idle_edge: Edge, sandbox, data):
    answer = ask(idle_edge, data)
    assert answer.status_code == 200, answer.text
    [prediction] = sandbox.state.predictions.values()
    [address] = prediction.input["image_input"]
    assert address.startswith(("data:image/jpeg;", "data:image/png;", "data:image/webp;"))
    assert base64.b64decode(address.partition(",")[2]) == data


def cmyk(profile: bytes | None = None) -> bytes:
    return encoded(QUARTERS.convert("CMYK"), "JPEG", quality=95, icc_profile=profile)


RIGHT = {
    "cmyk": (cmyk(), "RGB"),
    "cmyk with a profile of something else": (cmyk(SRGB), "RGB"),
    "cmyk with no profile at all": (cmyk(b"no profile"), "RGB"),
    "16 bits": (png(width=64, height=48, deep=True), "L"),
    "16 bits and a long text": (png(TEXTS["zTXt"], width=64, height=48, deep=True), "L"),
    "16 bits and a long profile": (png(TEXTS["iCCP"], width=64, height=48, deep=True), "L"),
}


@pytest.mark.parametrize(("data", "mode"), RIGHT.values(), ids=RIGHT)
def test_what_models_do_not_read_goes_out_in_8_bits_of_rgb_or_grey(idle_edge, sandbox, data, mode):
    answer = ask(idle_edge, data)
    assert answer.status_code == 200, answer.text
    image = sent(sandbox)
    assert (image.mode, image.size) == (mode, (64, 48))
    assert "icc_profile" not in image.info
    if mode == "RGB":
        assert corners(image) == UPRIGHT


async def test_16_bits_of_grey_become_8_without_clipping():
    image = Image.new("I;16", (3, 1))
    image.putdata([0, 0x8000, 0xFFFF])
    source = await normalised(encoded(image, "PNG"), MOST)
    assert list(Image.open(io.BytesIO(source.data)).tobytes()) == [0, 128, 255]


async def test_alpha_stays():
    exif = Image.Exif()
    exif[0x0112] = 3
    for picture_format in ("PNG", "WEBP"):
        clear = encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 51)), picture_format, exif=exif)
        source = await normalised(clear, MOST)
        assert source.format == "png"
        assert Image.open(io.BytesIO(source.data)).convert("RGBA").getpixel((0, 0))[3] == 51
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    source = await normalised(encoded(palette, "PNG", transparency=1, exif=exif), MOST)
    assert Image.open(io.BytesIO(source.data)).convert("RGBA").getpixel((0, 0)) == (255, 0, 0, 0)


SCANS = encoded(QUARTERS, "JPEG", progressive=True)
REFUSED = {
    "PDF": (encoded(RED, "PDF"), "PDF is not supported: send JPEG, PNG or WebP"),
    "SVG": (b"<svg xmlns='a'/>", "SVG is not supported: send JPEG, PNG or WebP"),
    "a film": (
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
        "MP4 is not supported: send JPEG, PNG or WebP",
    ),
    "32 bits": (
        encoded(QUARTERS.convert("F"), "TIFF"),
        "a TIFF of 32 bits is not supported: send JPEG, PNG or WebP",
    ),
    "a bomb in GIF": (
        encoded(RED, "GIF").replace(b"GIF87a\x08\0\x06\0", b"GIF87a\xff\xff\xff\xff", 1),
        "the picture has 4295 megapixels, at most 64 are taken",
    ),
    "a bomb": (
        png(width=13_300, height=13_300),
        "the picture has 176.9 megapixels, at most 64 are taken",
    ),
    "12 bits": (
        encoded(QUARTERS, "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        "a JPEG of 12 bits is not supported: send JPEG, PNG or WebP",
    ),
    "many scans": (
        SCANS[:-2] + SCANS[SCANS.rindex(b"\xff\xda") : -2] * 100 + b"\xff\xd9",
        "a JPEG of 110 scans is not supported: send JPEG, PNG or WebP",
    ),
    "no picture": (
        b"<!doctype html>",
        "the file is not a whole picture: it is no picture",
    ),
    "cut": (
        png()[:-9],
        "the file is not a whole picture: it ends early",
    ),
    "nonsense inside": (
        png(chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0"), width=999),
        "the file is not a whole picture: it cannot be decoded",
    ),
}
REFUSED["nonsense inside"] = (
    REFUSED["nonsense inside"][0].replace(
        chunk(b"IDAT", zlib.compress((b"\0" + bytes(999)) * 8)), chunk(b"IDAT", b"nonsense")
    ),
    REFUSED["nonsense inside"][1],
)


@pytest.mark.parametrize(("data", "text"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_by_name(idle_edge: Edge, sandbox, data, text):
    answer = ask(idle_edge, data)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert answer.json()["error"] == f"source_image_url: {text}"
    assert not sandbox.state.predictions


@pytest.mark.parametrize("name", ["PDF", "a bomb", "SVG", "cut"])
def test_in_the_queue_it_is_not_tried_again(edge: Edge, db, sandbox, name):
    data, text = REFUSED[name]
    started = edge.post("start-generation", {**BODY, "source_image_url": uri(data)})
    query = "select errors from job_queue where id = %s and status = 'failed'"
    job = eventually(lambda: db.execute(query, (started.json()["job_id"],)).fetchone())
    [error] = job["errors"]
    assert (error["class"], error["text"]) == ("bad_input", f"source_image_url: {text}")
    assert not sandbox.state.predictions


def test_how_large_is_a_setting(start_edge, sandbox):
    data = encoded(QUARTERS, "PNG")
    small = start_edge(MAX_SOURCE_PIXELS="3000")
    assert "at most 0.003 are taken" in ask(small, data).json()["error"]
    assert ask(start_edge(MAX_SOURCE_PIXELS="3072"), data).status_code == 200


TURNED = Image.Exif()
TURNED[0x0112] = 6


async def test_two_are_made_right_at_a_time_and_one_that_is_cancelled_keeps_its_place(monkeypatch):
    """A caller that has gone leaves its thread behind: its raster is there until that ends."""
    running, most, go_on = [0], [0], threading.Event()
    began = threading.Semaphore(0)
    lock = threading.Lock()

    def decode(*_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        began.release()
        go_on.wait(30)
        with lock:
            running[0] -= 1
        raise Broken("told")

    monkeypatch.setattr(decoder, "_in_child", decode)
    data = encoded(QUARTERS, "JPEG", exif=TURNED)
    tasks = [asyncio.create_task(normalised(data, MOST)) for _ in range(6)]
    await asyncio.to_thread(lambda: (began.acquire(timeout=30), began.acquire(timeout=30)))
    tasks[0].cancel()
    await asyncio.gather(asyncio.to_thread(zlib.crc32, b""))  # other threads are free
    go_on.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert most[0] == 2
    assert sum(isinstance(end, Broken) for end in ends) >= 5
    monkeypatch.undo()
    assert await normalised(data, MOST), "an error frees its place"


async def test_a_large_one_is_made_right_alone(monkeypatch):
    running, most = [0], [0]
    lock = threading.Lock()

    def decode(*_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        Image.effect_noise((300, 300), 50)
        with lock:
            running[0] -= 1
        raise Broken("told")

    monkeypatch.setattr(decoder, "_in_child", decode)
    monkeypatch.setattr(decoder, "LARGE_PIXELS", 100)
    data = encoded(QUARTERS, "JPEG", exif=TURNED)
    await asyncio.gather(*(normalised(data, MOST) for _ in range(8)), return_exceptions=True)
    assert most[0] == 1


async def test_another_event_loop_may_use_it_too():
    data = encoded(QUARTERS, "JPEG", exif=TURNED)
    here = await normalised(data, MOST)
    there = await asyncio.to_thread(asyncio.run, normalised(data, MOST))
    assert here == there
