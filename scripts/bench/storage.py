"""Page storage: /storage/v1 beside handlers by hand: up, down, list, sign, a cached thumbnail; memory of 50 MB."""

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
from jose import jwt
from PIL import Image

from functions._local.defaults import local_environment
from functions._shared.local_keys import LOCAL_JWT_SECRET
from scripts.bench.bare_files import serve_files
from scripts.bench.children import Gateway, child_process, gateway
from scripts.bench.closed_loop import Call
from scripts.bench.load import Load, load
from scripts.bench.platform import CLAIMS, USER, Figure
from scripts.postgres import Postgres

CONNECTIONS = (1, 64)
SIZE = 1_000_000
"""Bytes of a picture."""
LARGE = 50 * 1024 * 1024
OBJECTS = """
insert into storage.objects (bucket_id, name, owner_id, metadata)
select 'source-images', %(user)s || '/many/' || n || '.png', %(user)s, jsonb_build_object('size', 1000000)
from generate_series(1, %(count)s) as n
"""


def storage(postgres: Postgres, objects: int, seconds: int) -> Iterator[Load | Figure]:
    """Rows of the page; the user has ``objects`` objects in one folder, of which a list tells 100."""
    with tempfile.TemporaryDirectory(prefix="picture-edge-") as folder, ExitStack() as stack:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(OBJECTS.encode(), {"user": str(USER), "count": objects})
            connection.execute("vacuum analyze storage.objects")
        bare = stack.enter_context(
            child_process(serve_files, postgres.url, str(USER), f"{folder}/bare")
        ).recv()
        environ = {"SUPABASE_DB_URL": postgres.url, "EDGE_DATA_DIR": folder}
        edge = stack.enter_context(gateway(environ))
        base = f"{edge.url}/storage/v1"
        key = local_environment({})["SUPABASE_SERVICE_ROLE_KEY"]
        token = jwt.encode(CLAIMS, LOCAL_JWT_SECRET, algorithm="HS256")
        service, user = ({"Authorization": f"Bearer {it}"} for it in (key, token))
        path = f"source-images/{USER}/a.png"
        public = "generated-images/a.png"
        for name in (path, public):
            sent = {**service, "content-type": "image/png"}
            httpx.put(f"{base}/object/{name}", content=_picture(), headers=sent).raise_for_status()
        memory = _memory(edge, base, service)  # first: what later loads have freed would hide it
        yield from _rates(base, bare, (service, user), (path, public), seconds)
        yield Figure("RSS of a 50 MB upload and download, MB above idle", memory)


def _rates(
    base: str,
    bare: str,
    credentials: tuple[dict[str, str], dict[str, str]],
    paths: tuple[str, str],
    seconds: int,
) -> Iterator[Load]:
    (service, user), (path, public) = credentials, paths
    body, kind = "x" * SIZE, {"content-type": "image/png"}
    asked = json.dumps({"prefix": f"{USER}/many", "limit": 100})
    expiry = json.dumps({"expiresIn": 60})
    pages: list[dict[str, Call]] = [
        {
            "(a) a file fsynced, a row committed: 1 MB up": Call("PUT", f"{bare}/file", {}, body),
            "upload, a user": Call("PUT", f"{base}/object/{path}", {**user, **kind}, body),
            "upload, the service role (a worker)": Call(
                "PUT", f"{base}/object/{path}", {**service, **kind}, body
            ),
        },
        {
            "(a) FileResponse: 1 MB down": Call("GET", f"{bare}/file"),
            "download, public": Call("GET", f"{base}/object/public/{public}"),
            "download, a user": Call("GET", f"{base}/object/authenticated/{path}", user),
        },
        {
            "(a) one SELECT under the role: 100 names": Call("GET", f"{bare}/list"),
            "list": Call("POST", f"{base}/object/list/source-images", user, asked),
        },
        {
            "(a) one SELECT and a token: a signed URL": Call("GET", f"{bare}/sign"),
            "sign": Call("POST", f"{base}/object/sign/{path}", user, expiry),
        },
        {
            "(a) FileResponse: a thumbnail": Call("GET", f"{bare}/thumbnail"),
            "render, cached": Call("GET", f"{base}/render/image/public/{public}?width=256"),
        },
    ]
    for calls in pages:
        for connections in CONNECTIONS:
            yield from load(calls, connections, seconds)


def _picture() -> bytes:
    """Noise, which does not compress: about SIZE bytes."""
    file = io.BytesIO()
    Image.effect_noise((1000, 1000), 100).save(file, "PNG")
    return file.getvalue()


def _memory(edge: Gateway, base: str, service: dict[str, str]) -> float:
    url, chunk = f"{base}/object/source-images/large.png", bytes(LARGE // 50)
    Path(f"/proc/{edge.pid}/clear_refs").write_text("5")  # the peak from now on
    before = edge.rss_mb()
    headers = {**service, "content-type": "image/png"}
    httpx.put(
        url, content=(chunk for _ in range(50)), headers=headers, timeout=60
    ).raise_for_status()
    with httpx.stream("GET", url, headers=service, timeout=60) as download:
        assert sum(map(len, download.iter_bytes())) == LARGE
    return edge.peak_mb() - before
