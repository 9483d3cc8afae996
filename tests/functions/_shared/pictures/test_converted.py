"""Outputs in other formats: converted where browsers do not show them, kept where they do; pixels are compared."""

import asyncio
import contextlib
import io
import os
import random
import signal
import struct
import subprocess
import sys
import tracemalloc

import pytest
from PIL import Image

from functions._shared.errors import GenerationFailed
from functions._shared.pictures import decoder
from functions._shared.pictures.formats import format_of
from functions._shared.pictures.header import Broken
from functions._shared.pictures.headers import read_header
from functions._shared.pictures.inspect import as_stored
from tests.functions._shared.pictures.pictures import (
    QUARTERS,
    UPRIGHT,
    corners,
    encoded,
    heic,
    opened,
    turned,
)
from tests.help import eventually

MOST = 64_000_000
SECOND = {"save_all": True, "append_images": [QUARTERS.transpose(Image.Transpose.ROTATE_180)]}
LOSSLESS = {
    "BMP": encoded(QUARTERS, "BMP"),
    "BMP with a palette": encoded(QUARTERS.convert("P"), "BMP"),
    "TIFF": encoded(QUARTERS, "TIFF"),
    "TIFF with LZW": encoded(QUARTERS, "TIFF", compression="tiff_lzw"),
    "BigTIFF": encoded(QUARTERS, "TIFF", big_tiff=True),
    "TIFF with two pages": encoded(QUARTERS, "TIFF", **SECOND),
    "JPEG 2000": encoded(QUARTERS, "JPEG2000"),
    "JPEG 2000 codestream": encoded(QUARTERS, "JPEG2000", no_jp2=True),
}
LOSSY = {
    "TIFF with JPEG": encoded(QUARTERS, "TIFF", compression="jpeg"),
    "JPEG 2000": encoded(QUARTERS, "JPEG2000", irreversible=True),
    "AVIF": encoded(QUARTERS, "AVIF", quality=90),
    "AVIF sequence": encoded(QUARTERS, "AVIF", quality=90, **SECOND),
    "HEIC": heic(QUARTERS, quality=90),
    "HEIC of two": heic(QUARTERS, *SECOND["append_images"], quality=90),
}
FOREIGN = {**{f"{name}, lossless": data for name, data in LOSSLESS.items()}, **LOSSY}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_a_header_is_read_without_decoding(data):
    header = read_header(data, format_of(data))
    # HEVC codes blocks of 64 pixels, of which HEIC crops some away: an upper bound.
    assert header.shown == ((64, 64) if header.format == "HEIC" else (64, 48))
    assert header.lossless == (data in LOSSLESS.values())


async def test_an_avif_of_rgb_samples_counts_as_lossless():
    """Matrix coefficients 0: what a lossless encoder writes; Pillow's writes 6 or 1."""
    data, at = LOSSY["AVIF"], LOSSY["AVIF"].index(b"nclx") + 8
    assert not read_header(data, "AVIF").lossless
    assert read_header(data[:at] + b"\0\0" + data[at + 2 :], "AVIF").lossless


@pytest.mark.parametrize("data", LOSSLESS.values(), ids=LOSSLESS)
async def test_what_is_lossless_is_stored_without_a_loss(data):
    picture = await as_stored(data, MOST)
    assert (picture.format, picture.width, picture.height) == ("png", 64, 48)
    assert opened(picture.data).convert("RGB").tobytes() == QUARTERS.tobytes()


@pytest.mark.parametrize("data", LOSSY.values(), ids=LOSSY)
async def test_what_is_lossy_is_stored_as_webp(data):
    picture = await as_stored(data, MOST)
    assert (picture.format, picture.width, picture.height) == ("webp", 64, 48)
    assert corners(opened(picture.data)) == UPRIGHT


async def test_alpha_and_16_bits_stay():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 51))
    for data in (encoded(clear, "TIFF"), encoded(clear, "AVIF"), encoded(clear, "JPEG2000")):
        picture = await as_stored(data, MOST)
        pixel = opened(picture.data).convert("RGBA").getpixel((4, 4))
        assert pixel[3] == pytest.approx(51, abs=2)
        assert pixel[0] > 240
    depth = Image.new("I;16", (3, 1))
    depth.putdata([0, 0x1234, 0xFFFF])
    stored = opened((await as_stored(encoded(depth, "TIFF"), MOST)).data)
    assert [stored.getpixel((x, 0)) for x in range(3)] == [0, 0x1234, 0xFFFF]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("picture_format", ["TIFF", "AVIF", "HEIC"])
async def test_a_turned_one_is_stored_upright(picture_format, orientation):
    image, exif = turned(QUARTERS, orientation)
    if picture_format == "HEIC":
        data = heic(image, exif=exif.tobytes(), quality=90)
    else:
        data = encoded(image, picture_format, exif=exif)
    picture = await as_stored(data, MOST)
    assert (picture.width, picture.height) == (64, 48)
    shown = opened(picture.data)
    assert (corners(shown), shown.getexif().get(0x0112, 1)) == (UPRIGHT, 1)


async def test_cmyk_becomes_rgb():
    picture = await as_stored(encoded(QUARTERS.convert("CMYK"), "TIFF"), MOST)
    assert (opened(picture.data).mode, corners(opened(picture.data))) == ("RGB", UPRIGHT)


KEPT = {
    "gif": encoded(QUARTERS, "GIF"),
    "moving gif": encoded(QUARTERS, "GIF", duration=100, loop=0, **SECOND),
    "moving webp": encoded(QUARTERS, "WEBP", duration=100, **SECOND),
    "moving png": encoded(QUARTERS, "PNG", **SECOND),
}


@pytest.mark.parametrize("name", KEPT)
async def test_an_animation_is_stored_byte_for_byte(name):
    picture = await as_stored(KEPT[name], MOST)
    assert (picture.format, picture.width, picture.height) == (name.split()[-1], 64, 48)
    assert picture.data == KEPT[name]


CUT = {
    "BMP": LOSSLESS["BMP"],
    "GIF": KEPT["moving gif"],
    **{name: data for name, data in LOSSY.items() if "TIFF" not in name},
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
async def test_a_cut_one_is_fetched_again(data):
    for cut in (len(data) // 2, len(data) - 20):
        with pytest.raises(GenerationFailed, match="is not whole: it ends early") as failed:
            await as_stored(data[:cut], MOST)
        assert failed.value.retry


def with_size(data: bytes, width: int, height: int, stored: tuple[int, int] = (64, 48)) -> bytes:
    """``data`` that claims another size."""
    claimed = data.replace(struct.pack(">II", *stored), struct.pack(">II", width, height))
    assert claimed != data
    return claimed


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value of a tag."""
    at = data.index(struct.pack("<HHI", tag, 3, 1))
    return data[: at + 8] + struct.pack("<H", value) + data[at + 10 :]


BOMBS = {
    "AVIF": with_size(LOSSY["AVIF"], 60_000, 60_000),
    "HEIC": with_size(LOSSY["HEIC"], 60_000, 60_000, stored=(64, 64)),
    "JPEG 2000": with_size(LOSSLESS["JPEG 2000"], 60_000, 60_000),
    "TIFF": with_tag(with_tag(LOSSLESS["TIFF with LZW"], 256, 60_000), 257, 60_000),
}


@pytest.mark.parametrize("picture_format", BOMBS)
async def test_above_the_limit_the_reason_is_the_pixels(picture_format, monkeypatch):
    async def never(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr("functions._shared.pictures.inspect.convert", never)
    text = "the picture has 3600 megapixels, at most 64 are converted"
    tracemalloc.start()
    try:
        with pytest.raises(GenerationFailed, match=text) as failed:
            await as_stored(BOMBS[picture_format], MOST)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert not failed.value.retry


BROKEN = {
    "AVIF": LOSSY["AVIF"][:-60] + bytes(60),
    "HEIC without an item": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG 2000": LOSSLESS["JPEG 2000"].replace(b"\xff\x52", b"\xff\x64", 1),
    "TIFF": LOSSLESS["TIFF with LZW"].replace(
        LOSSLESS["TIFF with LZW"][8:40], b"\xff" * 32, 1
    ),
    "BMP of no kind": LOSSLESS["BMP"][:28] + b"\7\0" + LOSSLESS["BMP"][30:],
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
async def test_a_broken_one_is_not_fetched_again(data):
    with pytest.raises(GenerationFailed, match=r"picture is broken: it") as failed:
        await as_stored(data, MOST)
    assert not failed.value.retry


async def test_a_decoder_that_finds_more_than_the_header_told_is_stopped():
    small = read_header(encoded(QUARTERS.resize((8, 6)), "BMP"), "BMP")
    with pytest.raises(Broken, match="more pixels than its header says"):
        await decoder.convert(LOSSLESS["BMP"], small, "output", MOST)


async def test_memory_is_limited(monkeypatch):
    large = encoded(Image.new("RGB", (4000, 4000)), "TIFF", compression="tiff_lzw")
    header = read_header(large, "TIFF")
    assert await decoder.convert(large, header, "output", MOST)
    monkeypatch.setattr(decoder, "BASE_BYTES", 110 << 20)
    monkeypatch.setattr(decoder, "BYTES_PER_PIXEL", 0)
    with pytest.raises(Broken, match="cannot be decoded"):
        await decoder.convert(large, header, "output", MOST)


async def test_the_new_file_is_limited():
    noise = Image.frombytes("RGB", (4300, 4300), os.urandom(4300 * 4300 * 3))
    data = encoded(noise, "BMP")
    with pytest.raises(Broken, match="converted it would be larger than 50 MiB"):
        await decoder.convert(data, read_header(data, "BMP"), "output", MOST)


def in_place(monkeypatch, code):
    """Run Python ``code`` in the place of the decoder; returns the processes, as they are begun."""
    popen, begun = subprocess.Popen, []

    def begin(command, **options):
        begun.append(popen([command[0], "-c", code], **options))
        return begun[-1]

    monkeypatch.setattr(decoder.subprocess, "Popen", begin)
    return begun


BMP = LOSSLESS["BMP"], read_header(LOSSLESS["BMP"], "BMP"), "output", MOST


@pytest.mark.parametrize("code", ["import no_such_module", "import sys; sys.exit(2)"])
async def test_a_decoder_that_cannot_start_is_not_the_pictures_fault(monkeypatch, caplog, code):
    in_place(monkeypatch, code)
    with pytest.raises(GenerationFailed, match="cannot be started") as failed:
        await decoder.convert(*BMP)
    assert failed.value.retry
    assert caplog.records


async def test_an_interpreter_that_is_gone_is_not_the_pictures_fault(monkeypatch):
    monkeypatch.setattr(decoder.sys, "executable", "/nowhere/python")
    with pytest.raises(GenerationFailed, match="cannot be started") as failed:
        await decoder.convert(*BMP)
    assert failed.value.retry


def test_lower_limits_of_a_container_stay():
    """As an unprivileged user, to whom a hard limit cannot be raised."""
    code = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (9, 9));"
        "os.getuid() or os.setuid(65534);"
        "from functions._shared.pictures.decoder_child import _limit;"
        "_limit(resource.RLIMIT_CPU, 30); print(*resource.getrlimit(resource.RLIMIT_CPU))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"9 9\n"


async def test_the_child_of_a_cancelled_caller_is_ended(monkeypatch):
    """Python joins the decoders' threads at exit: a stop would wait for pictures that nobody wants."""
    begun = in_place(monkeypatch, "import signal; signal.pause()")
    task = asyncio.create_task(decoder.convert(*BMP))
    await asyncio.to_thread(eventually, lambda: begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(begun[0].wait, 30) == -signal.SIGKILL


async def test_a_child_that_is_not_begun_when_its_caller_goes_is_ended_too():
    child = decoder._Child()
    child.end()
    code, _ = await asyncio.to_thread(
        child.run, [sys.executable, "-c", "import signal; signal.pause()"], b""
    )
    assert code == -signal.SIGKILL


async def test_warnings_of_a_decoder_are_not_kept(monkeypatch):
    in_place(
        monkeypatch, "import os; [os.write(2, bytes(1 << 20)) for _ in range(64)]; os._exit(5)"
    )
    tracemalloc.start()
    try:
        with pytest.raises(Broken):
            await decoder.convert(*BMP)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("ended_by", "error"),
    [(signal.SIGXCPU, Broken), (signal.SIGSEGV, Broken), (signal.SIGKILL, GenerationFailed)],
)
async def test_a_decoder_that_dies_is_the_pictures_fault_unless_it_was_killed(
    monkeypatch, ended_by, error
):
    in_place(monkeypatch, f"import os; os.kill(os.getpid(), {int(ended_by)})")
    with pytest.raises(error):
        await decoder.convert(LOSSLESS["BMP"], read_header(LOSSLESS["BMP"], "BMP"), "output", MOST)


async def test_a_child_is_told_no_secret(monkeypatch):
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret")
    told = []
    run = subprocess.Popen
    monkeypatch.setattr(
        decoder.subprocess, "Popen", lambda *args, **options: told.append(options["env"]) or run(*args, **options)
    )  # fmt: skip
    await as_stored(LOSSLESS["BMP"], MOST)
    [environ] = told
    assert set(environ) - {"LD_LIBRARY_PATH"} == {"PYTHONPATH", "MALLOC_ARENA_MAX"}


HOSTILE = {
    "a GIF of a million blocks": KEPT["gif"][:-2] + b"\1x" * 1_000_000 + b"\0;",
    "an AVIF of a million boxes": LOSSY["AVIF"][:32] + b"\0\0\0\x08free" * 1_000_000,
    "a box within itself": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + b"\0\0\0\1meta" + bytes(8),
    "a TIFF of 60,000 tags": b"II*\0\x08\0\0\0\x60\xea" + bytes(12) * 60_000,
    "a JPEG 2000 of empty parts": b"\xff\x4f\xff\x51" + b"\0\2\xff\x51" * 1_000_000 + b"\xff\xd9",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_the_parts_of_a_file_are_limited(data):
    """Counted by their iterations: each is far below the number of parts."""
    lines = 0

    def count(*_):
        nonlocal lines
        lines += 1
        return count

    sys.settrace(count)
    try:
        with pytest.raises(Broken):
            read_header(data, format_of(data))
    finally:
        sys.settrace(None)
    assert lines < 2_500_000


ANY = {**FOREIGN, "GIF": KEPT["moving gif"], "MPO": encoded(QUARTERS, "MPO", **SECOND)}


@pytest.mark.parametrize("name", ANY)
def test_a_damaged_file_has_a_header_or_is_broken(name):
    """Fuzzing: no reader raises anything else, whatever the bytes are."""
    chance = random.Random(name)  # noqa: S311
    for _ in range(400):
        data = bytearray(ANY[name][: chance.randrange(16, len(ANY[name]))])
        data += ANY[name][len(data) :] if chance.random() < 0.7 else b""
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(2, min(len(data), 400))
            data[place : place + 2] = chance.choice([b"\0\0", b"\xff\xff", chance.randbytes(2)])
        with contextlib.suppress(Broken):
            assert read_header(bytes(data), format_of(ANY[name])).pixels > 0


async def test_heic_without_its_extra_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(GenerationFailed, match=r"^HEIC is not supported: webp, png") as failed:
        await as_stored(LOSSY["HEIC"], MOST)
    assert not failed.value.retry


def test_the_child_writes_nothing_but_the_picture():
    done = subprocess.run(
        [sys.executable, "-m", "functions._shared.pictures.decoder_child", "output", "9999", str(1 << 30)],
        input=LOSSY["AVIF"], capture_output=True, check=True,
    )  # fmt: skip
    name, _, data = done.stdout.partition(b"\n")
    assert (name, Image.open(io.BytesIO(data)).format) == (b"webp", "WEBP")
