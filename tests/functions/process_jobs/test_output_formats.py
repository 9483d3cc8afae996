"""Pictures that a model delivers in other formats, from the prompt to what a browser loads."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import Edge
from tests.functions._shared.pictures.pictures import opened
from tests.help import start, until_ended

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# fault of the sandbox, the stored format, frames
STORED = [
    ("as-mpo", "jpeg", 1),
    ("as-sideways-jpeg", "jpeg", 1),
    ("as-gif", "gif", 2),
    ("as-moving-webp", "webp", 2),
    ("as-avif", "webp", 1),
    ("as-heic", "webp", 1),
    ("as-bmp", "png", 1),
    ("as-tiff", "png", 1),
    ("as-jpeg2000", "png", 1),
]


def made(edge: Edge, fault: str) -> dict:
    prompt = f"a cat [fault:{fault}]"
    return until_ended(
        edge, start(edge, prompt=prompt, aspect_ratio="16:9", width=None, height=None)
    )


@pytest.mark.parametrize(("fault", "picture_format", "frames"), STORED)
def test_each_is_stored_as_browsers_show_it(edge: Edge, db, sandbox, fault, picture_format, frames):
    generation = made(edge, fault)
    assert generation["status"] == "completed", generation["error_message"]
    [image] = generation["images"]
    assert (image["format"], image["width"], image["height"]) == (picture_format, 1360, 768)
    assert image["filename"] == f"{generation['id']}.{picture_format}"
    answer = edge.client.get(image["public_url"])
    assert answer.headers["content-type"] == f"image/{picture_format}"
    assert len(answer.content) == image["file_size"]
    picture = opened(answer.content)
    if fault == "as-mpo":  # Pillow's name for a jpeg with a second picture behind it
        assert picture.format == "MPO"
    else:
        assert (picture.format.lower(), getattr(picture, "n_frames", 1)) == (picture_format, frames)
    [job] = db.execute("select errors from job_queue where job_type = 'download-image'").fetchall()
    assert (job["errors"], len(sandbox.state.predictions)) == ([], 1)


def test_what_cannot_be_stored_fails_at_the_first_download(edge: Edge, db, sandbox):
    generation = made(edge, "as-pdf")
    assert generation["status"] == "failed"
    assert generation["error_message"] == (
        "Failed to download/store image: PDF is not supported:"
        " webp, png, jpeg, gif and svg pictures are stored"
    )
    [job] = db.execute("select errors from job_queue where job_type = 'download-image'").fetchall()
    assert [error["class"] for error in job["errors"]] == ["permanent"]
    assert len(sandbox.state.predictions) == 1


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")
def test_a_script_in_an_svg_never_runs(edge: Edge):
    """Stored XSS: the file is stored as it is, and its address forbids scripts by Content-Security-Policy."""
    [image] = made(edge, "as-svg")["images"]
    assert image["format"] == "svg"
    answer = edge.client.get(image["public_url"])
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox"} <= set(policy)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            page, blocked = browser.new_page(), []
            page.on("console", lambda message: blocked.append(message.text))
            page.goto(image["public_url"])
            assert page.title() == ""
            assert any("script" in text for text in blocked), blocked
            page.goto(f"{edge.url}/ready")  # of its own origin, as an app behind the gateway is
            page.set_content(f'<title>page</title><img src="{image["public_url"]}">')
            page.wait_for_function("document.images[0].naturalWidth === 8")
            assert page.title() == "page"
        finally:
            browser.close()
