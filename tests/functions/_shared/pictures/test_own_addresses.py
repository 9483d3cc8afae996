"""Which addresses are objects of our own Storage, in which form; and sources that are read from there."""

import httpx
import pytest

from functions._shared.errors import InvalidRequest
from functions._shared.pictures.own_addresses import OwnAddresses
from tests.conftest import Edge
from tests.functions._shared.pictures.pictures import QUARTERS, UPRIGHT, corners, encoded
from tests.functions.process_generation.test_source_pictures import sent
from tests.help import BANANA

BUCKET, PRIVATE = "generated-images", "source-images"
ADDRESSES = OwnAddresses(
    ["https://edge.example", "http://inside.example:8000", "http://127.0.0.1:54321"]
)
S = "/storage/v1"


def found(url: str) -> str | None:
    own = ADDRESSES.find(httpx.URL(url))
    return str(own) if own else None


@pytest.mark.parametrize(
    "path",
    [
        "object/public/b/a%20b.png",
        "object/public/b/a.png?download=",
        "object/sign/b/a.png?token=x.y.z",
        "render/image/public/b/a.png?width=10",
        "render/image/sign/b/a.png?token=x.y.z",
    ],
)
def test_each_form_is_known_at_each_base(path):
    for base in ("https://edge.example", "http://inside.example:8000", "http://127.0.0.1:54321"):
        assert found(f"{base}{S}/{path}") == f"{base}{S}/{path}"
    for host in ("localhost", "[::1]", "LOCALHOST"):
        assert found(f"http://{host}:54321{S}/{path}") == f"http://127.0.0.1:54321{S}/{path}"
    assert found(f"https://EDGE.example:443{S}/{path}") == f"https://edge.example{S}/{path}"


@pytest.mark.parametrize(
    "url",
    [
        f"https://edge.example.evil{S}/object/public/b/a.png",
        f"http://edge.example{S}/object/public/b/a.png",
        f"https://edge.example:8443{S}/object/public/b/a.png",
        f"http://localhost:54322{S}/object/public/b/a.png",
        f"https://localhost:54321{S}/object/public/b/a.png",
        f"http://127.0.0.2:54321{S}/object/public/b/a.png",
        f"http://127.0.0.1:8000{S}/object/public/b/a.png",
        f"https://edge.example{S}/bucket/b",
        "https://edge.example/auth/v1/admin/users",
        f"https://edge.example{S}/object/public/../../bucket/b",
        f"https://edge.example{S}/object/public/%2e%2e/%2e%2e/bucket/b",
        f"https://edge.example{S}/object/public/..%2f..%2fbucket/b",
        f"https://edge.example{S}/object/public/..%5c..%5cbucket/b",
        f"https://edge.example/x{S}/object/public/b/a.png",
    ],
)
def test_nothing_else_is(url):
    assert found(url) is None


@pytest.mark.parametrize(
    "path",
    [
        "object/b/a.png",
        "object/publicity/a.png",
        "object/authenticated/b/a.png",
        "render/image/authenticated/b/a.png",
    ],
)
def test_what_only_its_reader_may_read_is_refused_by_name(path):
    with pytest.raises(InvalidRequest, match="needs a signed-in caller: send a signed one"):
        found(f"https://edge.example{S}/{path}")


def test_a_base_may_have_a_path():
    below = OwnAddresses(["https://edge.example/edge"])
    assert below.find(httpx.URL(f"https://edge.example/edge{S}/object/public/b/a.png"))
    assert below.find(httpx.URL(f"https://edge.example{S}/object/public/b/a.png")) is None


def put(edge: Edge, bucket: str, data: bytes = encoded(QUARTERS, "PNG")) -> None:
    answer = edge.client.put(
        f"{edge.url}{S}/object/{bucket}/a.png",
        content=data,
        headers={"Authorization": f"Bearer {edge.service_role_key}", "content-type": "image/png"},
    )
    assert answer.status_code == 200, answer.text


def signed(edge: Edge, **body: object) -> str:
    answer = edge.client.post(
        f"{edge.url}{S}/object/sign/{PRIVATE}/a.png",
        json={"expiresIn": 60, **body},
        headers={"Authorization": f"Bearer {edge.service_role_key}"},
    )
    return f"{edge.url}{S}{answer.json()['signedURL']}"


def ask(edge: Edge, url: str) -> httpx.Response:
    body = {"prompt": "x", "model_id": BANANA, "source_image_url": url}
    return edge.post("process-generation", body, edge.service_role_key)


FORMS = {
    "public": lambda edge: f"{edge.url}{S}/object/public/{BUCKET}/a.png",
    "localhost": lambda edge: f"{edge.url}{S}/object/public/{BUCKET}/a.png".replace("127.0.0.1", "localhost"),
    "signed": signed,
    "signed, smaller": lambda edge: signed(edge, transform={"width": 32, "height": 24}),
    "rendered": lambda edge: f"{edge.url}{S}/render/image/public/{BUCKET}/a.png?width=32&height=24",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_source_is_read_from_our_own_storage(idle_edge: Edge, sandbox, form):
    put(idle_edge, BUCKET)
    put(idle_edge, PRIVATE)
    answer = ask(idle_edge, FORMS[form](idle_edge))
    assert answer.status_code == 200, answer.text
    assert corners(sent(sandbox)) == UPRIGHT


def test_start_generation_takes_them_too(edge: Edge, sandbox):
    put(edge, PRIVATE)
    body = {"prompt": "x", "model_id": BANANA, "source_image_url": signed(edge)}
    assert edge.post("start-generation", body).status_code == 200
    refused = {**body, "source_image_url": f"{edge.url}{S}/object/authenticated/{PRIVATE}/a.png"}
    answer = edge.post("start-generation", refused)
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        "source_image_url: needs a signed-in caller: send a signed one (createSignedUrl)"
    )


def test_a_private_one_needs_its_token(idle_edge: Edge, sandbox):
    """Read without credentials: our service role's would show one user's pictures to another."""
    put(idle_edge, PRIVATE)
    for url in (
        f"{idle_edge.url}{S}/object/public/{PRIVATE}/a.png",
        f"{idle_edge.url}{S}/object/sign/{PRIVATE}/a.png",
        f"{signed(idle_edge)}x",
        signed(idle_edge).replace("a.png", "b.png"),
    ):
        answer = ask(idle_edge, url)
        assert answer.status_code >= 400, url
        assert "token=" not in answer.text
    assert not sandbox.state.predictions
