"""Raw HTTP over sockets: requests that no client library sends, and their responses."""

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import Edge


def dial(edge: Edge) -> socket.socket:
    address = urlsplit(edge.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: localhost", *lines, "", ""]).encode()


def until_closed(connection: socket.socket) -> bytes:
    said = b""
    try:
        while chunk := connection.recv(65536):
            said += chunk
    except ConnectionError:
        pass  # reset: the server closed with unread data
    return said


def pour(connection: socket.socket, piece: bytes, most: int, pause_s: float = 0) -> int:
    """Send ``piece`` repeatedly; returns the bytes sent until the server closed the connection, or ``most``."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
            time.sleep(pause_s)
    except ConnectionError:
        pass
    return sent


def refusal(said: bytes) -> tuple[int, Any, bytes]:
    """Of an error response: status, code, and the headers in lower case."""
    answer, _, body = said.partition(b"\r\n\r\n")
    return int(answer.split()[1]), json.loads(body)["code"], answer.lower()
