"""One response as it is parsed: llhttp's callbacks, and the bounds of what a stranger's server may send."""

from collections import deque

import httptools
import httpx

MAX_HEAD_BYTES = 64 * 1024
"""Of a response's status and headers, informational responses (1xx) before it included; llhttp has no bound."""


class Exchange:
    """The state of a response. ``feed`` raises httpx.RemoteProtocolError for what is no HTTP."""

    def __init__(self, method: bytes) -> None:
        self.chunks: deque[bytes] = deque()
        """Of the body, received and not yet read."""
        self.buffered = 0
        """Their bytes."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_head = False
        self.complete = False
        self.may_be_kept = False
        """Whether the connection may be used again after this response."""
        self._without_body = method == b"HEAD"  # llhttp cannot be told
        self._received = 0
        self._head_bytes = 0
        """Of all headers, as parsed: the end of the head and the body's beginning may come together."""
        self._surplus = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def status(self) -> int:
        status: int = self._parser.get_status_code()
        return status

    def feed(self, data: bytes) -> None:
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise httpx.RemoteProtocolError("the server changes the protocol unasked") from None
        except httptools.HttpParserError as error:
            raise httpx.RemoteProtocolError(type(error).__name__) from None
        if self._surplus:
            raise httpx.RemoteProtocolError("there is data behind the response")
        if max(self._head_bytes, 0 if self.has_head else self._received) > MAX_HEAD_BYTES:
            raise httpx.RemoteProtocolError("the headers are too long")

    def end(self) -> None:
        """The server has closed the connection: the end of a body without a length. Raises RemoteProtocolError."""
        if self.complete:
            return
        names = {name.lower() for name, _ in self.headers}
        if not self.has_head:
            raise httpx.RemoteProtocolError("the server disconnected without a response")
        if names & {b"content-length", b"transfer-encoding"}:
            raise httpx.RemoteProtocolError("the response is cut short")
        self.complete = True

    def take(self) -> bytes:
        """The next chunk of the body."""
        chunk = self.chunks.popleft()
        self.buffered -= len(chunk)
        return chunk

    # httptools

    def on_message_begin(self) -> None:
        self._surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # else a trailer
            self._head_bytes += len(name) + len(value) + len(b": \r\n")
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return  # of a surplus response
        if self.status < 200:
            self.headers.clear()  # informational: the response follows, or not at all (101)
            return
        self.has_head = True
        self.complete = self._without_body

    def on_body(self, body: bytes) -> None:
        if not self.complete:  # else behind a HEAD's response
            self.chunks.append(body)
            self.buffered += len(body)

    def on_message_complete(self) -> None:
        if self.has_head:
            self.complete = True
            self.may_be_kept = not self._without_body and self._parser.should_keep_alive()
