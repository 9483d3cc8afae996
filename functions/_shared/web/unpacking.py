"""Bounded decompression of HTTP bodies: a decompression bomb is never unpacked beyond the limit."""

import zlib

ENCODINGS = frozenset({"", "identity", "gzip"})
GZIP = 16 + zlib.MAX_WBITS


class NotUnpacked(Exception):
    """A body that cannot be read. Each subclass is a reason, which the caller puts into its own words."""


class UnknownEncoding(NotUnpacked):
    """Content-Encoding is neither identity nor gzip; ``str(error)`` begins with it, 20 characters at most."""


class BadGzip(NotUnpacked):
    """The bytes are not gzip."""


class CutShort(NotUnpacked):
    """The body ended before the end of its gzip stream."""


class TooLong(NotUnpacked):
    """The body is larger than the limit, as received or unpacked."""


class Unpacker:
    """Incremental: ``feed`` each chunk of a body, ``end`` it. ``limit``: the most bytes of the body.

    Received bytes count as well as unpacked ones: gzip headers and empty blocks unpack to nothing.
    """

    def __init__(self, content_encoding: str | None, limit: int, *, overhead: int = 0) -> None:
        """``overhead``: bytes that may be received beyond ``limit``. Raises UnknownEncoding."""
        encoding = (content_encoding or "").strip().lower()
        if encoding not in ENCODINGS:
            raise UnknownEncoding(encoding[:20])
        self._gzip = zlib.decompressobj(wbits=GZIP) if encoding == "gzip" else None
        self._limit = limit
        self._overhead = overhead
        self._received = self._unpacked = 0
        self.trailing = False
        """Whether bytes came behind the end of the gzip stream: a further member (RFC 1952), or anything else."""

    def feed(self, chunk: bytes) -> bytes:
        """The chunk's bytes unpacked. Raises BadGzip, TooLong."""
        self._received += len(chunk)
        piece = self._decompressed(chunk) if self._gzip else chunk
        self._unpacked += len(piece)
        if self._unpacked > self._limit or self._received > self._limit + self._overhead:
            raise TooLong
        return piece

    def _decompressed(self, chunk: bytes) -> bytes:
        assert self._gzip
        if self.finished:  # zlib would keep all that comes behind
            self.trailing = self.trailing or bool(chunk)
            return b""
        try:
            # One byte beyond the limit is enough to know.
            piece = self._gzip.decompress(chunk, self._limit + 1 - self._unpacked)
        except zlib.error:
            raise BadGzip from None
        self.trailing = bool(self._gzip.unused_data)
        return piece

    @property
    def finished(self) -> bool:
        """Whether the end of a gzip stream has come; False for a body without gzip, which ends with the connection."""
        return self._gzip is not None and self._gzip.eof

    def end(self) -> None:
        """Raises CutShort for an unfinished gzip stream; an empty body is whole."""
        if self._gzip and self._received and not self._gzip.eof:
            raise CutShort
