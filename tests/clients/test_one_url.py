"""An app of which only the project's address was changed: everything it uses works through the gateway."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from supabase import AsyncClientOptions, acreate_client

from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.clients.node import VERSIONS, needs_node, run_node
from tests.conftest import Edge

pytestmark = pytest.mark.slow

USER = str(uuid4())
TOPIC = "realtime:generation:7"


class Project:
    """As much of a Supabase as one app uses: what the clients themselves send and read."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def sign_in(self, request: Request) -> Response:
        assert request.query_params["grant_type"] == "password"
        user = {"id": USER, "aud": "authenticated", "role": "authenticated", "email": "a@b.c"}
        user |= {"app_metadata": {}, "user_metadata": {}, "created_at": "2026-01-01T00:00:00Z"}
        session = {"access_token": "x.y.z", "token_type": "bearer", "expires_in": 3600}
        return JSONResponse({**session, "refresh_token": "r", "user": user})

    async def rows(self, request: Request) -> Response:
        assert request.query_params["select"] == "id,images(*)"
        assert request.query_params["id"] == "eq.7"
        assert request.headers["accept"] == "application/vnd.pgrst.object+json"
        return JSONResponse({"id": 7, "images": []})

    async def missing(self, request: Request) -> Response:
        return JSONResponse({"code": "PGRST205", "message": "no such table"}, 404)

    async def put(self, request: Request) -> Response:
        name = request.path_params["name"]
        if request.headers["content-type"].startswith("multipart/"):
            async with request.form() as form:
                [file] = [part for part in form.values() if not isinstance(part, str)]
                self.objects[name] = await file.read()
        else:
            self.objects[name] = await request.body()
        return JSONResponse({"Id": str(uuid4()), "Key": name})

    async def get(self, request: Request) -> Response:
        return Response(self.objects[request.path_params["name"]], media_type="image/png")

    async def sign(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse({"signedURL": f"/object/sign/{name}?token=t"})

    async def signed(self, request: Request) -> Response:
        assert request.query_params["token"] == "t"
        return await self.get(request)

    async def realtime(self, socket: WebSocket) -> None:
        """Joins are answered; whoever asks is told the news."""
        assert socket.query_params["apikey"]
        await socket.accept()
        while True:
            frame = await socket.receive()
            if frame["type"] == "websocket.disconnect":
                return
            if frame.get("bytes"):  # how newer clients broadcast
                assert b"ask" in frame["bytes"]
                await self._answer(socket, [None, None, TOPIC, "broadcast", {}])
            else:
                await self._answer(socket, json.loads(frame["text"]))

    async def _answer(self, socket: WebSocket, message: Any) -> None:
        listed = isinstance(message, list)  # version 2 of the protocol
        if listed:
            join_ref, ref, topic, event, payload = message
        else:
            join_ref, ref = message.get("join_ref"), message["ref"]
            topic, event, payload = message["topic"], message["event"], message["payload"]

        if event == "broadcast":
            join_ref = ref = None
            payload = {"type": "broadcast", "event": "news", "payload": {"text": "it is done"}}
        else:
            event = "phx_reply"
            payload = {"status": "ok", "response": {"postgres_changes": []}}
        fields = {"topic": topic, "event": event, "payload": payload, "ref": ref}
        answer = [join_ref, ref, topic, event, payload]
        await socket.send_json(answer if listed else fields | {"join_ref": join_ref})


@pytest.fixture
def edge(start_edge) -> Iterator[Edge]:
    project = Project()
    app = Starlette(
        routes=[
            Route("/auth/v1/token", project.sign_in, methods=["POST"]),
            Route("/rest/v1/rows", project.rows),
            Route("/rest/v1/missing", project.missing),
            Route("/storage/v1/object/sign/{name:path}", project.sign, methods=["POST"]),
            Route("/storage/v1/object/sign/{name:path}", project.signed, methods=["GET"]),
            Route("/storage/v1/object/{name:path}", project.put, methods=["POST", "PUT"]),
            Route("/storage/v1/object/{name:path}", project.get, methods=["GET"]),
            WebSocketRoute("/realtime/v1/websocket", project.realtime),
        ]
    )
    with bound("127.0.0.1", free_port(), "project") as listener, serving(app, listener):
        port = listener.getsockname()[1]
        yield start_edge(SUPABASE_UPSTREAM_URL=f"http://127.0.0.1:{port}")


@needs_node
@pytest.mark.parametrize("version", VERSIONS)
def test_supabase_js(edge: Edge, version):
    assert run_node("everything.mjs", edge, edge.user_token(), version) == {
        "user": USER,
        "row": {"id": 7, "images": []},
        "missing": "PGRST205",
        "uploaded": "a folder/a.png",
        "downloaded": "picture",
        "signed": "picture",
        "started": "queued",
        "heard": "it is done",
    }


async def test_supabase_py(edge: Edge):
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(
            headers={"Authorization": f"Bearer {edge.user_token()}"}, httpx_client=http
        )
        client = await acreate_client(edge.url, edge.anon_key, options)
        row = await client.table("rows").select("id,images(*)").eq("id", 7).single().execute()
        assert row.data == {"id": 7, "images": []}
        bucket = client.storage.from_("pictures")
        await bucket.upload("a folder/a.png", b"picture", {"content-type": "image/png"})
        assert await bucket.download("a folder/a.png") == b"picture"
        signed = await bucket.create_signed_url("a folder/a.png", 60)
        assert (await http.get(signed["signedURL"])).content == b"picture"
        joined, heard = asyncio.Event(), asyncio.get_running_loop().create_future()
        channel = client.channel("generation:7")
        channel.on_broadcast("news", lambda message: heard.set_result(message["payload"]["text"]))
        await channel.subscribe(lambda *_: joined.set())
        await joined.wait()
        await channel.send_broadcast("ask", {})
        assert await heard == "it is done"
        await client.remove_all_channels()
        await client.realtime.close()
        session = await client.auth.sign_in_with_password({"email": "a@b.c", "password": "p"})
        assert session.user.id == USER
