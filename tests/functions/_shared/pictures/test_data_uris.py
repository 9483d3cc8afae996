"""data: URIs as encoders, forms and hands make them; what is wrong with one is named."""

import base64
import tracemalloc
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.pictures.data_uris import decode_data_uri
from tests.functions._shared.pictures.pictures import QUARTERS, encoded, heic

LIMIT = 20 * 1024 * 1024
PICTURE = encoded(QUARTERS.resize((16, 12)), "JPEG") + b"behind its end"
PLAIN = base64.b64encode(PICTURE).decode()
assert "+" in PLAIN
assert "/" in PLAIN
assert PLAIN.endswith("=")


def wrapped(text: str, length: int, end: str) -> str:
    return end.join(text[at : at + length] for at in range(0, len(text), length))


READ = {
    "plain": f"data:image/jpeg;base64,{PLAIN}",
    "MIME lines": f"data:image/jpeg;base64,{wrapped(PLAIN, 76, chr(13) + chr(10))}",
    "PEM lines": f"data:image/jpeg;base64,{wrapped(PLAIN, 64, chr(10))}\n",
    "lines that became blanks": f"data:image/jpeg;base64,{wrapped(PLAIN, 76, ' ')}",
    "a line break at the end": f"data:image/jpeg;base64,{PLAIN}\n",
    "no padding": f"data:image/jpeg;base64,{PLAIN.rstrip('=')}",
    "too much padding": f"data:image/jpeg;base64,{PLAIN}==",
    "URL-safe": f"data:image/jpeg;base64,{base64.urlsafe_b64encode(PICTURE).decode()}",
    "URL-safe without padding": f"data:;base64,{base64.urlsafe_b64encode(PICTURE).decode().rstrip('=')}",
    "percent-encoded": f"data:image/jpeg;base64,{quote(PLAIN, safe='')}",
    "a blank for each +": f"data:image/jpeg;base64,{PLAIN.replace('+', ' ')}",
    "capitals": f"DATA:IMAGE/JPEG;BASE64,{PLAIN}",
    "octet-stream": f"data:application/octet-stream;base64,{PLAIN}",
    "another type": f"data:image/png;base64,{PLAIN}",
    "a parameter": f"data:image/jpeg;name=a.jpg;base64,{PLAIN}",
    "no type": f"data:;base64,{PLAIN}",
    "percent-encoded bytes": f"data:image/jpeg,{quote(PICTURE)}",
    "bare": PLAIN,
    "bare and URL-safe": base64.urlsafe_b64encode(PICTURE).decode(),
    "blanks around it": f"  data:image/jpeg;base64,{PLAIN} \n",
}


def address(text: str) -> str:
    request = {"prompt": "x", "model_id": "y", "source_image_url": text}
    found = GenerationRequest.model_validate(request).source_image_url
    assert found is not None
    return found


@pytest.mark.parametrize("uri", READ.values(), ids=READ)
def test_a_picture_is_read_by_its_bytes(uri):
    found = address(uri)
    assert found.startswith("data:")
    assert decode_data_uri(found, LIMIT) == PICTURE


FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF"]


@pytest.mark.parametrize("picture_format", [*FORMATS, "HEIC"])
def test_bare_base64_is_known_by_its_first_characters(picture_format):
    data = heic(QUARTERS) if picture_format == "HEIC" else encoded(QUARTERS, picture_format)
    found = address(base64.b64encode(data).decode())
    assert decode_data_uri(found, LIMIT) == data


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("data:image/png;base64", "has no comma before its data"),
        ("data:image/png;base64,", "holds no data"),
        ("data:image/png;base64,  \n", "holds no data"),
        ("data:image/png,", "holds no data"),
        ("data:image/png;base64,iVBO!w0K", "is not base64: it has the character '!'"),
        ("data:image/png;base64,iVBO=w0K", "is not base64: it has the character '='"),
        ("data:image/png;base64,iVBORé", "is not base64: it has the character 'é'"),
        ("data:image/png;base64,iVBOR", "is not base64: its last character is missing"),
        ("data:image/png;base64," + "A" * (28 << 20), "holds more than 20 MiB"),
        ("data:image/png," + "A" * (21 << 20), "holds more than 20 MiB"),
        ("data:image/png," + "%41" * (21 << 20), "holds more than 20 MiB"),
    ],
    ids=range(11),
)
def test_what_is_wrong_is_named(uri, text):
    with pytest.raises(InvalidRequest) as refused:
        decode_data_uri(uri, LIMIT)
    assert str(refused.value).startswith(f"The address: the data URI {text}")


def test_twenty_mebibytes_in_lines_are_not_too_many():
    text = wrapped(base64.b64encode(bytes(LIMIT)).decode(), 76, "\r\n")
    assert len(decode_data_uri(f"data:;base64,{text}", LIMIT)) == LIMIT


def test_what_is_too_large_is_not_decoded():
    uri = "data:image/png;base64," + "AAA\n" * (10 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match="more than 20 MiB"):
            decode_data_uri(uri, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "banana",
        "a.png",
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "data:,sha256-" + "0" * 64,
        "DATA:,sha256-" + "0" * 64,
        " data:,sha256-" + "0" * 64,
    ],
)
def test_what_is_no_address_is_refused_and_so_is_a_reference_of_ours(text):
    with pytest.raises(ValidationError, match="must be an https:// address, or the picture as"):
        address(text)


@pytest.mark.parametrize("url", ["HTTPS://Example.com/A.png", " https://Example.com/A.png\n"])
def test_a_scheme_in_capitals_is_read(url):
    assert address(url) == "https://Example.com/A.png"
