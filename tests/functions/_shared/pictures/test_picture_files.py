"""What a file is and how large, told without unfolding it, in linear time, whatever somebody has made it of."""

import io
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib

import pytest
from PIL import Image, PngImagePlugin

from functions._shared.errors import GenerationFailed
from functions._shared.pictures.formats import PROLOGUE_BYTES, format_of
from functions._shared.pictures.headers import read_header
from functions._shared.pictures.inspect import inspect
from tests.functions._shared.pictures.pictures import chunk, encoded, png

RED = Image.new("RGB", (8, 6), "red")
PROLOGUES = {
    "nothing": "",
    "a mark": "\ufeff",
    "a declaration": '<?xml version="1.0" encoding="UTF-8"?>\n',
    "a stylesheet": '<?xml version="1.0"?><?xml-stylesheet href="a.css"?>\r\n',
    "comments": "<!-- a > b --> <!----><!-- <svg> -->\t",
    "a document type": '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/a>b.dtd">\n',
    "entities": "<!DOCTYPE svg [ <!ENTITY ns \">]>\"> <!-- it's ]> --> <?a ]> ?> <!ENTITY b ']>'> ]>",
    "all of it": "\ufeff<?xml version='1.0'?>\n<!-- a --><!DOCTYPE svg [<!ENTITY a 'b'>]><?b?><!-- c -->\n",
    "10,000 comments": "<!---->" * 10_000,
}


@pytest.mark.parametrize("prologue", PROLOGUES.values(), ids=PROLOGUES)
@pytest.mark.parametrize("root", ["<svg>", '<svg\nwidth="1">', "<svg/>", "<svg:svg xmlns:svg='a'>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_an_svg_is_told_after_whatever_may_stand_before_it(prologue, root, encoding):
    assert format_of((prologue + root).encode(encoding)[:PROLOGUE_BYTES]) == (
        "svg" if len((prologue + root).encode(encoding)) <= PROLOGUE_BYTES else ""
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "<svgx>",
        "<html><svg>",
        "<!-- <svg>",
        "<!DOCTYPE svg [ <svg>",
        "<!DOCTYPE svg '<svg>",
        "<?xml <svg>",
        "svg",
        "()",
    ],
)
def test_what_only_mentions_one_is_none(text):
    assert format_of(text.encode()) == ""


HOSTILE = [
    "'<!---->' * 10_000 + 'x'",
    "'<!---->' * 10_000_000",
    "'<!--' * 1_000_000",
    "'<!-- ' + '-' * 10_000_000",
    "'<?' * 1_000_000",
    "'<!DOCTYPE ' + '[' * 5_000_000",
    "'<!DOCTYPE [' + '<!ENTITY a \"' * 500_000",
    "'<!DOCTYPE ' + '<' * 5_000_000",
    "'<!DOCTYPE x>' * 500_000",
    "' ' * 20_000_000",
    "'<' + 'a' * 10_000_000",
    "'<?xml ' * 3_000_000 + '?>' + '<!DOCTYPE \"' * 100_000",
    "'\\ufeff' + '<!---->x' * 1_000_000",
]


@pytest.mark.slow
@pytest.mark.parametrize("made", HOSTILE)
def test_no_prologue_takes_more_than_linear_time(made):
    """In a process of its own: a pattern with 2^n ways holds the GIL, and no time-out of this one would be heard."""
    code = (
        "from functions._shared.pictures.inspect import inspect\n"
        "from functions._shared.errors import GenerationFailed\n"
        f"data = ({made}).encode()\n"
        "try:\n    inspect(data)\n"
        "except GenerationFailed:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_the_time_for_comments_grows_with_their_number(monkeypatch):
    """Counted, not timed: one step a comment."""
    from functions._shared.pictures import formats as picture_formats

    steps = []
    real = picture_formats._behind
    monkeypatch.setattr(
        picture_formats, "_behind", lambda *args: steps.append(args[2]) or real(*args)
    )
    assert format_of(b"<!---->" * 10_000 + b"<svg>") == "svg"
    assert len(steps) == 10_000
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encoded(RED, "GIF"), "gif"),
        (encoded(RED, "BMP"), "BMP"),
        (encoded(RED, "TIFF"), "TIFF"),
        (encoded(RED, "TIFF", big_tiff=True), "TIFF"),
        (encoded(RED, "JPEG2000"), "JPEG 2000"),
        (encoded(RED, "AVIF"), "AVIF"),
        (encoded(RED, "PDF"), "PDF"),
        (encoded(RED, "ICO"), "ICO"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\xff\x0a\x00\x00", "JPEG XL"),
        (encoded(RED, "JPEG"), "jpeg"),
        (encoded(RED, "PNG"), "png"),
        (encoded(RED, "WEBP"), "webp"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "MP4"),
        (b' {"a": 1}', "JSON"),
        (b"RIFF\0\0\0\0WAVEfmt ", "WAV"),
        (b"BMW is no picture", ""),
        (b"<!doctype html><title>no</title>", ""),
    ],
)
def test_a_format_is_told_by_its_first_bytes(data, name):
    assert format_of(data) == name


@pytest.mark.parametrize(
    ("data", "name"),
    [(encoded(RED, "PDF"), "PDF"), (b'{"seed": 1}', "JSON"), (b"\xff\n", "JPEG XL")],
)
def test_an_output_that_cannot_be_stored_is_named_and_not_fetched_again(data, name):
    with pytest.raises(GenerationFailed, match=f"^{name} is not supported: webp, png") as refused:
        inspect(data)
    assert not refused.value.retry


ORDINARY = [
    pytest.param("JPEG", {}, id="jpeg"),
    pytest.param("JPEG", {"progressive": True}, id="progressive"),
    pytest.param("JPEG", {"comment": b"x" * 70}, id="commented"),
    pytest.param("JPEG", {"restart_marker_blocks": 1}, id="with restarts"),
    pytest.param("PNG", {}, id="png"),
    pytest.param("WEBP", {}, id="webp"),
    pytest.param("WEBP", {"lossless": True}, id="lossless"),
    pytest.param("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, id="extended webp"),
]


@pytest.mark.parametrize(("picture_format", "options"), ORDINARY)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_whole_file_has_its_size_and_a_cut_one_is_told(picture_format, options, mode):
    image = Image.effect_noise((301, 203), 90).convert(mode)
    data = encoded(image, picture_format, **options)
    picture = inspect(data)
    assert (picture.format, picture.width, picture.height) == (picture_format.lower(), 301, 203)
    assert inspect(data + b"something behind it").width == 301
    for cut in (9, 20, 40, len(data) // 2, len(data) - 20):
        with pytest.raises(GenerationFailed, match=r"ends early|no picture") as refused:
            inspect(data[:cut])
        assert refused.value.retry


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
def test_a_size_is_as_it_is_shown(picture_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = inspect(encoded(RED, picture_format, exif=exif))
    assert (picture.width, picture.height) == ((6, 8) if orientation >= 5 else (8, 6))


def test_a_jpeg_with_a_second_picture_is_a_jpeg():
    """MPO: many phones and cameras."""
    data = encoded(RED, "MPO", save_all=True, append_images=[RED.resize((4, 3))])
    assert (inspect(data).format, inspect(data).width) == ("jpeg", 8)


LONG = b"x" * (3 << 20)
TEXTS = {
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LONG)),
    "iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LONG)),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + zlib.compress(LONG)),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0x")[:-4] + b"\0\0\0\0",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_are_neither_unfolded_nor_a_reason_to_refuse(text):
    with pytest.raises((ValueError, SyntaxError)):
        PngImagePlugin.PngImageFile(io.BytesIO(png(text))).load()
    tracemalloc.start()
    try:
        assert inspect(png(text)).width == 8
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_wrong_checksum_where_the_picture_is_breaks_it():
    data = bytearray(png())
    data[data.index(b"IDAT") + 6] ^= 1
    with pytest.raises(GenerationFailed, match="png picture is broken: a checksum in it is wrong"):
        inspect(bytes(data))


CLAIMS = {
    "png": png(width=60_000, height=60_000),
    "webp": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + b"\xff" * 4 + bytes(8) + b"\0",
    "jpeg": encoded(RED, "JPEG").replace(
        struct.pack(">HH", 6, 8), struct.pack(">HH", 65_000, 65_000), 1
    ),
}


@pytest.mark.parametrize("picture_format", CLAIMS)
def test_what_a_file_claims_is_not_unfolded(picture_format):
    tracemalloc.start()
    try:
        header = read_header(CLAIMS[picture_format], picture_format)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert header.pixels > 200_000_000
    picture = inspect(CLAIMS[picture_format])  # an upscaler's is stored all the same
    assert (picture.width or 0) > 15_000


BROKEN = [
    b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b""),
    png(chunk(b"IHDR", bytes(13))),
    png(width=0),
    png(ends=False),
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(4)) + chunk(b"IEND", b""),
    b"\xff\xd8\xff\xd9",
    b"\xff\xd8" + b"\xff\xe0\0\2" * 20_000 + b"\xff\xd9",
    b"\xff\xd8" + b"\xff\xe0\0\0" * 20_000,
    b"\xff\xd8" + b"\xff" * 100_000,
    b"RIFF\x04\0\0\0WEBP",
    b"RIFF\x10\0\0\0WEBPVP8X\xff\xff\xff\xff",
    b"RIFF" + struct.pack("<I", 80_004) + b"WEBP" + b"JUNK\0\0\0\0" * 10_000,
]


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_what_is_broken_is_no_whole_picture(data):
    with pytest.raises(GenerationFailed, match=r"is broken|is not whole|no picture"):
        inspect(data)


@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0" + b"\xff" * 8,
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",
        b"no EXIF at all",
        b"",
    ],
)
def test_what_exif_says_without_sense_is_upright(exif):
    data = png(chunk(b"eXIf", exif))
    assert read_header(data, "png").orientation == 1


def test_no_pattern_over_foreign_bytes_repeats_a_repetition():
    """What made it hang: ``(<!--.*?-->\\s*|…)*`` has two ways to read each comment."""
    from functions._shared.pictures import data_uris, formats, web_headers
    from functions._shared.web import fields

    patterns = [
        found for module in (data_uris, fields, formats, web_headers) for found in vars(module).values()
        if isinstance(found, re.Pattern)
    ]  # fmt: skip
    assert patterns
    for pattern in patterns:
        text = (
            pattern.pattern
            if isinstance(pattern.pattern, str)
            else pattern.pattern.decode("latin-1")
        )
        assert not re.search(r"\)[*+]", text), text


@pytest.mark.parametrize("side", [2**31, 2**32 - 1])
def test_a_size_that_no_row_could_hold_is_broken(side):
    """PNG's own bound is 2^31-1, an integer column's as well: a paid picture was retried as an error of ours."""
    size = chunk(b"IHDR", struct.pack(">IIBBBBB", side, 8, 8, 0, 0, 0, 0))
    with pytest.raises(GenerationFailed, match="its size makes no sense") as failed:
        inspect(png()[:8] + size + png()[8 + len(size) :])
    assert not failed.value.retry
