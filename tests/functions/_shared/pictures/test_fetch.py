"""Pictures from addresses that somebody else chose: which are asked, along redirects too, and how much is read."""

import asyncio
import base64
import gzip
import io
import ipaddress
import os
import tracemalloc
from dataclasses import replace

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from functions._local.defaults import local_environment
from functions._shared.errors import GenerationFailed, InvalidRequest
from functions._shared.pictures import fetch
from functions._shared.resources import open_resources
from functions._shared.settings import Settings
from functions._shared.web.addresses import is_public
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge

PUBLIC = "/storage/v1/object/public/"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::80ff:fffe", False),
    ],
)
def test_only_the_public_internet_is_public(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


def picture(side=8):
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(file, "png")
    return file.getvalue()


PICTURE = picture()
BOMB = gzip.compress(bytes(300 << 20), 1)
"""1.3 MB, which unfold to 300 MiB."""


async def endless():
    while True:
        yield bytes(1 << 16)
        await asyncio.sleep(0)  # so that the server can notice that nobody listens


def answer(request):
    match request.path_params["name"]:
        case "good":
            return Response(PICTURE)
        case "moved":
            return RedirectResponse("good")
        case "circle":
            return RedirectResponse("circle")
        case "nowhere":
            return Response(status_code=302)
        case "endless":
            return StreamingResponse(endless())
        case "zipped":
            return Response(gzip.compress(PICTURE), headers={"content-encoding": "gzip"})
        case "bomb":
            return Response(BOMB, headers={"content-encoding": "gzip"})
        case "half" | "junk":
            data = gzip.compress(PICTURE)[:-9] if request.path_params["name"] == "half" else PICTURE
            return Response(data, headers={"content-encoding": "gzip"})
        case "other":
            return Response(PICTURE, headers={"content-encoding": "br"})
        case "asked":
            return Response(PICTURE + request.headers["accept-encoding"].encode())
        case "agent":
            return Response(request.headers["user-agent"])
        case "missing":
            return Response(status_code=404)
        case "broken":
            return Response(status_code=503)
    return RedirectResponse(request.query_params["to"])


@pytest.fixture
async def storage(environ):
    """Resources whose own storage is a server of this test's."""
    app = Starlette(routes=[Route(PUBLIC + "{name}", answer)])
    with bound("127.0.0.1", free_port(), "storage") as listener, serving(app, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = Settings.from_env(local_environment({**environ, "PUBLIC_URL": url}))
        async with open_resources(settings) as resources:
            yield resources, url + PUBLIC


@pytest.mark.parametrize("name", ["good", "moved", "zipped"])
async def test_the_stacks_own_storage_is_read_over_http(storage, name):
    resources, base = storage
    assert await resources.fetcher.source(base + name) == PICTURE


@pytest.mark.parametrize(
    ("to", "text"),
    [
        ("http://169.254.169.254/latest/meta-data", "must be an https address"),
        ("https://169.254.169.254/latest/meta-data", "the host is not on the public internet"),
        ("https://[::ffff:10.0.0.1]/x", "the host is not on the public internet"),
        ("http://127.0.0.1:1/storage/v1/object/public/x", "must be an https address"),
        ("ftp://example.com/x", "must be a plain http(s) URL"),
        ("https://user:word@example.com/x", "must be a plain http(s) URL"),
        ("https://example.com:0/x", "has a port that there is not"),
        ("https://2130706433/x", "has a host that there cannot be"),
        ("//[fe80::1%25lo]/x", "has a host that there cannot be"),
    ],
)
async def test_each_hop_is_checked_like_the_first(storage, to, text):
    resources, base = storage
    with pytest.raises(InvalidRequest) as refused:
        await resources.fetcher.source(f"{base}away?to={to}")
    assert str(refused.value).startswith("source_image_url: ")
    assert str(refused.value).endswith(text)
    assert "word" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "retry"),
    [
        ("circle", "the image is more than 5 redirects away", False),
        ("endless", "the image is larger than 20 MiB", False),
        ("bomb", "the image is larger than 20 MiB", False),
        ("half", "the image is not whole gzip", True),
        ("junk", "the image is not valid gzip", True),
        ("other", "the image comes in Content-Encoding br, which was not asked for", False),
        ("missing", "the image answered 404", False),
        ("broken", "the image answered 503", True),
        ("away?to=https://xn--/x", "the image redirects to what is no address", False),
        ("away?to=https://[::1", "the image could not be fetched (RemoteProtocolError)", True),
    ],
)
async def test_what_cannot_be_had_says_whether_to_try_again(storage, name, text, retry):
    resources, base = storage
    with pytest.raises(GenerationFailed) as failed:
        await resources.fetcher.source(base + name)
    assert (str(failed.value), failed.value.retry) == (text, retry)


async def test_nothing_is_unpacked_beyond_the_limit(storage):
    """A piece of the network's 64 KiB may unfold to 64 MiB at a time."""
    resources, base = storage
    tracemalloc.start()
    try:
        with pytest.raises(GenerationFailed, match="larger than 20 MiB"):
            await resources.fetcher.source(base + "bomb")
        assert tracemalloc.get_traced_memory()[1] < 55 << 20
    finally:
        tracemalloc.stop()
    assert await resources.fetcher.source(base + "asked") == PICTURE + b"identity"


async def test_hosts_are_told_what_asks_them(storage):
    """Image hosts refuse the generic User-Agent of an HTTP library."""
    resources, base = storage
    assert await resources.fetcher.source(base + "agent") == b"picture-edge/0.1.0"
    assert fetch.user_agent("https://edge.example") == "picture-edge/0.1.0 (+https://edge.example)"
    assert fetch.user_agent("http://kong:8000") == "picture-edge/0.1.0", "an inner name is not told"


async def test_time_is_limited(storage, monkeypatch):
    resources, base = storage
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(fetch, "MAX_SOURCE_BYTES", 1 << 60)
    with pytest.raises(GenerationFailed, match="TimeoutError"):
        await resources.fetcher.source(base + "endless")


async def test_a_public_host_is_resolved_once_and_the_connection_held_to_it(storage, monkeypatch):
    resources, _ = storage
    asked, sent = [], []

    async def resolve(_self, host, port, **_):
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(2, 1, 6, "", (address, port))]

    def serve(request):
        sent.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(PICTURE))

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", resolve)
    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as http:
        fetcher = replace(resources.fetcher, http=http)
        assert await fetcher.source("https://pictures.example/x.png") == PICTURE
    [request] = sent
    assert asked == ["pictures.example"]
    assert (request.url.host, request.headers["host"]) == ("93.184.216.34", "pictures.example")
    assert request.extensions["sni_hostname"] == "pictures.example"


@pytest.mark.parametrize(
    "url", ["https://xn--/x", "https://h:0/x", "data:image/png;base64,!", "data:,", "https://[::1"]
)
async def test_an_output_address_that_is_none_is_the_providers_fault(environ, url):
    async with open_resources(Settings.from_env(local_environment(environ))) as resources:
        with pytest.raises(GenerationFailed, match=r"^Output address: ") as failed:
            await resources.fetcher.output(url)
    assert (failed.value.retry, failed.value.status) == (False, 500)


async def test_a_data_uri_above_the_limit_is_not_decoded(environ):
    uri = "data:image/png;base64," + "A" * (28 << 20)
    async with open_resources(Settings.from_env(local_environment(environ))) as resources:
        tracemalloc.start()
        try:
            with pytest.raises(
                InvalidRequest, match="source_image_url: the data URI holds more than 20 MiB"
            ):
                await resources.fetcher.source(uri)
            assert tracemalloc.get_traced_memory()[1] < 32 << 20
        finally:
            tracemalloc.stop()


async def test_the_hosts_of_outputs_can_be_set(environ):
    values = local_environment({**environ, "OUTPUT_HOSTS": "pictures.example, other.example"})
    settings = Settings.from_env(values)
    asked = []

    def serve(request):
        asked.append(request.url.host)
        return httpx.Response(200, stream=httpx.ByteStream(PICTURE))

    async with (
        open_resources(settings) as resources,
        httpx.AsyncClient(transport=httpx.MockTransport(serve)) as http,
    ):
        fetcher = replace(resources.fetcher, http=http)
        for host in ("pictures.example", "cdn.other.example"):
            assert await fetcher.output(f"https://{host}/x.png") == PICTURE
        for host in ("replicate.delivery", "notpictures.example"):
            with pytest.raises(GenerationFailed, match="not on a host of the provider"):
                await fetcher.output(f"https://{host}/x.png")
    assert asked == ["pictures.example", "cdn.other.example"]


@pytest.mark.parametrize(("side", "uploaded"), [(64, False), (320, True)])
def test_a_large_source_picture_is_uploaded_a_small_one_goes_along(
    idle_edge: Edge, sandbox, side, uploaded
):
    data = picture(side)
    assert (len(data) > 256_000) == uploaded
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    body = {"prompt": "x", "model_id": "google/nano-banana", "source_image_url": uri}
    result = idle_edge.post("process-generation", body, idle_edge.service_role_key)
    assert result.status_code == 200, result.text
    [prediction] = sandbox.state.predictions.values()
    [sent] = prediction.input["image_input"]
    if uploaded:
        [file] = sandbox.state.files.files.values()
        assert (sent.endswith(f"/v1/files/{file.id}"), file.data) == (True, data)
    else:
        assert (sent, sandbox.state.files.files) == (uri, {})
