"""uvicorn's settings, the same for ``python -m functions``, the local stack and the tests; a server without a tick."""

import asyncio
from types import FrameType
from typing import Any

import uvicorn

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
DATE_S = 1.0
"""How old the Date header of a response may be, as with uvicorn's own loop."""


class Server(uvicorn.Server):
    """uvicorn's server, woken by the stop signal. Its own loop looks for one ten times a second (polling), more often
    than all else wakes an idle gateway.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # 0: the tick that renews the Date header
            try:
                async with asyncio.timeout(DATE_S):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop:
            self._loop.call_soon_threadsafe(self._woken.set)
