"""The bounds on a connection, which uvicorn lacks: against slowloris, slow POST, slow read and unbounded buffers.

Bytes that arrive are of three kinds: a head (request line, headers; trailers and chunk extensions count as one), the
body of a request that has no response yet, or bytes that no app will read. Heads and unread bytes are bounded in size
and time in every state of the connection; a body's size is the app's to bound, the connection only requires progress.
"""

MAX_HEAD_BYTES = 64 * 1024
"""A longer head is answered 431. Also the most that is buffered behind a response under way (pipelining). One read may
exceed it before it is checked."""

MAX_PIPELINED = 16
"""Complete requests that one read may bring behind the one that is being answered; each takes some kilobytes."""

CHUNK_FRAME_BYTES = 20
"""A chunk's size and line ends, which count as body; more is a chunk extension, and counts as head."""

HEAD_S = 20.0
"""Slowloris: from a connection's first byte to the end of the headers; also how long a new connection may be silent."""

BODY_WINDOW_S = 10.0
BODY_WINDOW_BYTES = 2048
"""Slow POST (R.U.D.Y.): a body must bring this much per window, some 200 bytes a second (Kestrel asks for 240). Two
consecutive windows below it end the connection; those in which the app does not read (backpressure) do not count."""

LINGER_S = 10.0
LINGER_SILENT_S = 3.0
LINGER_BYTES = 16 * 1024 * 1024
"""Lingering close: how much of an answered request is still read and discarded. Clients send the whole body before they
read; a close with unread data resets the connection, and they would lose the response."""

UNREAD_S = 300.0
"""Slow read: how long a client may leave its response unread before the connection is aborted."""

KEEP_ALIVE_S = 130
"""Longer than proxies keep an idle connection (Caddy: two minutes): else a proxy sends a request into a closing one."""
