"""The example app's files over HTTP: what is served, with which headers, and that nothing answers where it is off."""

from pathlib import Path

import httpx
import pytest

from functions._platform.example import routes
from tests.conftest import Edge

PAGE = Path(routes.__file__).parent / "page"
PATHS = [*routes.FILES, "/example/config.js"]


def get(edge: Edge, path: str, method: str = "GET") -> httpx.Response:
    return edge.client.request(method, f"{edge.url}{path}")


def test_every_file_of_the_page_is_served(idle_edge: Edge):
    assert {name for name, _ in routes.FILES.values()} == {file.name for file in PAGE.iterdir()}
    for path, (name, media_type) in routes.FILES.items():
        answer = get(idle_edge, path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.text == (PAGE / name).read_text()


@pytest.mark.parametrize("path", PATHS)
def test_its_policy_allows_nothing_inline_and_nothing_from_elsewhere(idle_edge: Edge, path: str):
    answer = get(idle_edge, path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert " style=" not in answer.text
    assert "<style" not in answer.text


def test_an_app_developer_reads_it_in_ten_minutes():
    """Under 300 lines of JavaScript, no framework: nothing is imported but the page's own files."""
    scripts = {file.name: file.read_text() for file in PAGE.glob("*.js")}
    assert sum(text.count("\n") for text in scripts.values()) < 300
    assert max(len(line) for text in scripts.values() for line in text.splitlines()) <= 120
    imported = {
        line.rpartition(" from ")[2]
        for text in scripts.values()
        for line in text.splitlines()
        if line.startswith("import ")
    }
    assert imported == {'"./config.js";', '"./live.js";', '"./session.js";'}
    assert "innerHTML" not in "".join(scripts.values()).replace("never innerHTML", "")


def test_the_configuration_is_the_public_key_and_nothing_else(start_edge):
    edge = start_edge(PUBLIC_URL="https://pictures.example.com/")
    text = get(edge, "/example/config.js").text
    assert 'PROJECT_URL = "https://pictures.example.com";' in text
    assert f'ANON_KEY = "{edge.anon_key}";' in text
    assert edge.service_role_key not in text
    assert text.count("export") == 2


def test_a_publishable_key_serves_as_well(start_edge):
    edge = start_edge(
        SUPABASE_ANON_KEY="", SUPABASE_PUBLISHABLE_KEYS='{"default": "sb_publishable_of_this_test"}'
    )
    assert 'ANON_KEY = "sb_publishable_of_this_test";' in get(edge, "/example/config.js").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_read_only(idle_edge: Edge, method: str):
    answer = get(idle_edge, "/", method)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_head_has_no_body(idle_edge: Edge):
    answer = get(idle_edge, "/", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("settings", [{"SERVE": "auth,rest,realtime,storage"}, {"SERVE": ""}])
def test_nothing_of_it_answers_where_it_is_off(start_edge, settings):
    """Production: SERVE names what is served, and the example is not among it by default."""
    if settings == {"SERVE": ""}:
        settings = {
            "SUPABASE_UPSTREAM_URL": "http://127.0.0.1:9"
        }  # then the local stack serves nothing itself
    edge = start_edge(**settings)
    unknown = get(edge, "/example/unknown.js")
    for path in PATHS:
        for method in ("GET", "HEAD", "POST", "DELETE"):
            answer = get(edge, path, method)
            assert answer.status_code == 404, (method, path)
            assert answer.headers.keys() == unknown.headers.keys()
            assert answer.content == (b"" if method == "HEAD" else unknown.content)


def test_no_other_path_is_the_page(idle_edge: Edge):
    for path in (
        "/index.html",
        "/example",
        "/example/",
        "/example/index.html",
        "/example/../app.py",
        "//",
    ):
        assert get(idle_edge, path).status_code in {400, 404}, path


def test_the_functions_own_host_has_no_page(start_edge):
    edge = start_edge(FUNCTIONS_HOST="functions.localhost")
    answer = edge.client.get(f"{edge.url}/", headers={"Host": "functions.localhost"})
    assert answer.status_code == 404
