"""Requests to /storage/v1 that tests share."""

from typing import Any

import httpx

from tests.conftest import Edge


def call(
    edge: Edge, method: str, path: str, token: str | None = "", **options: Any
) -> httpx.Response:
    """``token`` "" is the edge's user's, None sends none."""
    token = edge.user_token() if token == "" else token
    headers = {
        **({"Authorization": f"Bearer {token}"} if token else {}),
        **options.pop("headers", {}),
    }
    return edge.client.request(method, f"{edge.url}/storage/v1/{path}", headers=headers, **options)


def put(edge: Edge, path: str, data: bytes = b"x", **headers: str) -> str:
    """Write an object as the service role; returns its id."""
    headers = {"content-type": "image/png", **headers}
    answer = call(
        edge, "PUT", f"object/{path}", edge.service_role_key, content=data, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["Id"])


def told(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, statusCode and message of an error."""
    body = answer.json()
    return answer.status_code, body["statusCode"], body["message"]
