"""uvicorn's settings, the same for ``python -m functions``, the local stack and the tests."""

from typing import Any

from functions.gateway.bounds import KEEP_ALIVE_S
from functions.gateway.http_protocol import HttpProtocol
from functions.gateway.websocket_protocol import WebSocketProtocol

UVICORN: dict[str, Any] = {
    "loop": "uvloop",
    "http": HttpProtocol,
    "ws": WebSocketProtocol,
    # Decompression bomb: one read of 256 KiB may inflate to as many MiB, before any token is checked.
    "ws_per_message_deflate": False,
    # logs.py configures the log. An access log would hold the query strings of apps, and so their secrets.
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,  # proxies.py reads them (spoofing)
    "timeout_keep_alive": KEEP_ALIVE_S,
}
