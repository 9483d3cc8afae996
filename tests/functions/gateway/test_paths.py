"""Path traversal and path confusion: dot segments in every encoding; one reading of a path for all."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.paths import has_dot_segments
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge
from tests.functions.gateway.raw import dial, until_closed

SERVICES = ["auth", "rest", "storage", "graphql", "realtime", "functions"]
UP = [
    "..",
    ".",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%25252e.",
    "%%32%65.",
    "..;x",
    "..%00",
    "..%20",
]
BETWEEN = ["/", "//", "%2f", "%5c", "\\", "%252F", "%255c"]


class Project:
    """An upstream that records the target of each request line, of websockets too."""

    def __init__(self) -> None:
        self.url = ""
        self.targets: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        self.targets.append(target.decode("latin-1"))
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def project() -> Iterator[Project]:
    project = Project()
    with bound("127.0.0.1", free_port(), "project") as listener, serving(project, listener):
        project.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield project


def ask(
    edge: Edge, target: str, host: str = "localhost", *, websocket: bool = False
) -> tuple[int, bytes]:
    lines = ["connection: close"]
    if websocket:
        lines = [
            "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ]  # fmt: skip
    request = [f"GET {target} HTTP/1.1", f"host: {host}", *lines, "", ""]
    with closing(dial(edge)) as connection:
        connection.sendall("\r\n".join(request).encode("latin-1"))
        said = until_closed(connection)
    return int(said.split()[1]), said.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("websocket", [False, True])
@pytest.mark.parametrize("forwarded", ["true", "false"])
def test_no_spelling_climbs_out_of_a_service(start_edge, project: Project, forwarded, websocket):
    edge = start_edge(SUPABASE_UPSTREAM_URL=project.url, FORWARD_UNKNOWN_FUNCTIONS=forwarded)
    for service in SERVICES:
        for up in UP:
            for between in BETWEEN:
                target = f"/{service}/v1/x{between}{up}{between}{up}{between}pg/x"
                status, body = ask(edge, target, websocket=websocket)
                assert status in ({403} if websocket else {400, 404}), target
                assert websocket or b'"code":"' in body
        for target in (f"/{service}/v1/..", f"/{service}/v1/%2e%2e", f"/{service}/v1/x/..?a"):
            assert ask(edge, target, websocket=websocket)[0] in {400, 403}
    assert project.targets == []


@pytest.mark.parametrize("websocket", [False, True])
def test_functions_stay_here_by_any_spelling(start_edge, project: Project, websocket):
    edge = start_edge(SUPABASE_UPSTREAM_URL=project.url, FUNCTIONS_HOST="f.test")
    for target in [
        "/functions/v1/unknown",
        "/functions%2fv1/unknown",
        "/functions/v1%2funknown",
        "/functions%5cv1/unknown",
        "/%66unctions/v1/unknown",
        "//functions/v1/unknown",
        "/functions//v1/unknown",
        "/rest/v1/../../functions/v1/unknown",
        "/rest/v1/..%2f..%2ffunctions/v1/unknown",
        "/rest%2fv1/../functions/v1/unknown",
        "/rest%2fv1/x",
        "/r%65st/v1/x",
        "http://x/functions/v1/unknown",
    ]:
        assert ask(edge, target, websocket=websocket)[0] in {400, 403, 404}, target
        assert ask(edge, target, "f.test", websocket=websocket)[0] in {400, 403, 404}, target
    for target in ("/../rest/v1/x", "/rest/v1/x", "/realtime/v1/websocket"):
        assert ask(edge, target, "f.test", websocket=websocket)[0] in {400, 403, 404}, target
    assert project.targets == []


def test_no_spelling_of_ours_is_passed_on_as_an_unknown_one(start_edge, project: Project):
    edge = start_edge(SUPABASE_UPSTREAM_URL=project.url, FORWARD_UNKNOWN_FUNCTIONS="true")
    for name in (
        "/process-jobs",
        "%2fprocess-jobs",
        "process-jobs;x",
        "%2570rocess-jobs",
        "process-jobs%5cx",
    ):
        assert ask(edge, f"/functions/v1/{name}")[0] == 404, name
    assert project.targets == []
    assert ask(edge, "/functions/v1/hello_World-2/a%2Fb//c")[0] == 200
    assert project.targets == ["/functions/v1/hello_World-2/a%2Fb//c"]


AS_THEY_ARE = [
    "/rest/v1/a%2Fb%20c/?select=*%2Cimages%28*%29&x=%5B1%5D",
    "/rest/v1/my%20table?name=eq.../../x&y=%2e%2e%2f",
    "/storage/v1/object/sign/b/a%252e%252epng?token=a.b-c_d",
    "/storage/v1/object/public/b/...png",
    "/storage/v1/object/public/b/a..b/.hidden/c.",
    "/auth/v1//user",
    "/rest/v1/x;y=1/z;w=2?a;b",
    "/rest/v1/%41%7e~!$&'()*+,=:@|^`{}\"<>",
    "/rest/v1/x?a=b?c=%zz",
]  # fmt: skip


def test_what_is_passed_on_is_byte_for_byte_what_came(start_edge, project: Project):
    edge = start_edge(SUPABASE_UPSTREAM_URL=project.url)
    for target in AS_THEY_ARE:
        assert ask(edge, target)[0] == 200, target
    assert project.targets == AS_THEY_ARE


def test_so_it_is_for_websockets(start_edge, project: Project):
    edge = start_edge(SUPABASE_UPSTREAM_URL=f"{project.url}/base/")
    for target in AS_THEY_ARE:
        ask(edge, target, websocket=True)
    assert project.targets == [f"/base{target}" for target in AS_THEY_ARE]


@pytest.mark.parametrize("target", ["/rest/v1/x?n=\xe9", "/rest/v1/x\x0b", "/rest/v1/x?\x0c"])
def test_what_no_request_line_may_hold_is_refused(start_edge, project: Project, target):
    edge = start_edge(SUPABASE_UPSTREAM_URL=project.url)
    assert ask(edge, target)[0] == 400
    assert project.targets == []


NAME = st.text("ab.%2e", min_size=1, max_size=6).filter(
    lambda name: not re.fullmatch(r"(\.|%(25)*2e){1,2}", name)
)


@given(st.lists(NAME, max_size=5), st.sampled_from(UP), st.lists(NAME, max_size=3))
def test_wherever_it_stands(before: list[str], up: str, after: list[str]):
    for between in BETWEEN:
        path = "/" + between.join([*before, up, *after])
        assert has_dot_segments(path.encode())


@pytest.mark.parametrize("piece", [b"%25", b"/.", b"\\ ", b". ", b"/ ", b"%2e", b"%5c "])
def test_a_long_path_takes_no_longer_than_its_length(piece):
    """ReDoS: a backtracking pattern would exceed the test's time-out."""
    has_dot_segments(b"/" + piece * (64 * 1024 // len(piece)) + b"x")
