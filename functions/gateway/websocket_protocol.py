"""uvicorn's websocket protocol, with backpressure on each frame and an answer to unreadable handshakes."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from functions._shared.errors import InvalidRequest
from functions.gateway.envelope import raw_error_response
from functions.gateway.slow_reader import SlowReaderTimeout


class WebSocketProtocol(SlowReaderTimeout, WebSocketsSansIOProtocol):
    """Bounds two things that uvicorn leaves open: pongs, which are buffered without end for a client that reads none
    (ping flood), and handshakes that ``websockets`` cannot parse (a body, a line above 8 KiB), which get no answer.
    """

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc and not self.handshake_initiated:
            error = InvalidRequest("Invalid websocket handshake.")
            self.transport.write(raw_error_response(error))
            self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:
        message = (
            await super().receive()
        )  # which resumes reading, even while the client reads nothing
        if not self.writable.is_set() and not self.transport.is_closing():
            self.transport.pause_reading()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.send":
            # Backpressure for this frame too, not from the next one on: a sender that bounds what is unsent counts it.
            await self.writable.wait()
        # After a rejection with a body (websocket.http.response) uvicorn would log an error and send a second response.
        self.handshake_complete = self.handshake_complete or self.close_sent
