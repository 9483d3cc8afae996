"""Pictures decoded and encoded anew, each in a child process (fault isolation), two at a time (bulkhead).

The codecs are C libraries that parse untrusted bytes. A crash, an endless loop or a decompression bomb ends the child
alone, within limits of memory and CPU time that the kernel holds; and none holds this process's GIL, as the decoders of
JPEG 2000 and WebP do. The start of a child takes 0.1 s: pictures that need no decoding get none.
"""

import asyncio
import importlib.util
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from functions._shared.errors import GenerationFailed
from functions._shared.pictures.decoder_child import (
    BROKEN,
    MOST_RESULT_BYTES,
    TOO_LARGE,
    TOO_MANY_PIXELS,
)
from functions._shared.pictures.formats import Purpose
from functions._shared.pictures.header import Broken, Header

log = logging.getLogger(__name__)

AT_ONCE = 2
LARGE_PIXELS = 16_000_000
"""Above this a picture is decoded alone."""
TIMEOUT_S = 90
"""Elapsed time of a child; its CPU time is limited further."""
BASE_BYTES = 768 * 1024 * 1024
BYTES_PER_PIXEL = 32
"""Address space of a child: Python and the libraries; rasters of the decoder, of Pillow and of the encoder."""
_ENDED_FROM_OUTSIDE = {-2, -9, -15}
"""Exit codes of SIGINT, SIGTERM and SIGKILL (the kernel's out-of-memory killer): not the picture's fault."""
_MODULES = {"HEIC": "pillow_heif", "AVIF": "PIL._avif"}
"""Modules that an installation may lack."""

# Threads of their own, which wait for the children: DNS look-ups and files use asyncio's default pool. Not an
# asyncio.Semaphore: it belongs to one event loop, and a cancelled caller releases it while its child still runs.
_DECODERS = ThreadPoolExecutor(AT_ONCE, "decode")
_LARGE = threading.Lock()


def can_decode(picture_format: str) -> bool:
    """Whether the format's decoder is installed."""
    module = _MODULES.get(picture_format)
    return module is None or importlib.util.find_spec(module) is not None


async def convert(
    data: bytes, header: Header, purpose: Purpose, most_pixels: int
) -> tuple[bytes, str]:
    """The picture encoded anew, and its format: png or jpeg for a source, png or webp for an output.

    Raises Broken where it cannot be decoded; GenerationFailed where the child was ended from outside, or cannot start.
    """
    loop = asyncio.get_running_loop()
    child = _Child()
    try:
        return await loop.run_in_executor(
            _DECODERS, _convert, data, header, purpose, most_pixels, child
        )
    except asyncio.CancelledError:
        child.end()
        raise


class _Child:
    """A child process that another thread may end, even before it is started.

    Nobody waits for the picture of a cancelled caller; and Python joins the decoders' threads at exit: a graceful
    shutdown would take as long as the picture.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._unwanted = False

    def end(self) -> None:
        self._unwanted = True
        if self._process:
            self._process.kill()

    def run(self, arguments: list[str], data: bytes) -> tuple[int, bytes]:
        """Exit code and stdout. Raises OSError, subprocess.TimeoutExpired."""
        with (
            subprocess.Popen(  # noqa: S603 - our own module, numbers and a fixed word
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries warn of each fault: megabytes, of a file made for it
                env=_environment(),
                start_new_session=True,  # Ctrl-C at the terminal ends the gateway gracefully, not its pictures at once
            ) as process
        ):
            self._process = process
            try:
                if self._unwanted:
                    process.kill()
                told, _ = process.communicate(data, timeout=TIMEOUT_S)
            except BaseException:
                process.kill()
                raise
            return process.returncode, told


def _convert(
    data: bytes, header: Header, purpose: Purpose, most_pixels: int, child: _Child
) -> tuple[bytes, str]:
    if header.pixels <= LARGE_PIXELS:
        return _in_child(data, header, purpose, most_pixels, child)
    with _LARGE:
        return _in_child(data, header, purpose, most_pixels, child)


def _in_child(
    data: bytes, header: Header, purpose: Purpose, most_pixels: int, child: _Child
) -> tuple[bytes, str]:
    most_bytes = BASE_BYTES + BYTES_PER_PIXEL * header.pixels
    try:
        code, told = child.run(
            [
                sys.executable,
                "-m",
                "functions._shared.pictures.decoder_child",
                purpose,
                str(min(most_pixels, header.pixels)),
                str(most_bytes),
            ],
            data,
        )
    except subprocess.TimeoutExpired:
        raise GenerationFailed(f"the picture was not decoded within {TIMEOUT_S} s") from None
    except (
        OSError
    ) as error:  # no interpreter, no process (EAGAIN), no memory: not the picture's fault
        log.error("the picture decoder cannot be started: %s", error)
        raise GenerationFailed("the picture's decoder cannot be started") from None
    if code == 0:
        new_format, _, new = told.partition(b"\n")
        return new, new_format.decode()
    if code == TOO_MANY_PIXELS:
        raise Broken("it has more pixels than its header says")
    if code == TOO_LARGE:
        raise Broken(f"converted it would be larger than {MOST_RESULT_BYTES // 1024**2} MiB")
    if code in _ENDED_FROM_OUTSIDE:
        raise GenerationFailed("the picture's decoder was ended")
    if code == BROKEN or code < 0:  # a signal: it crashed, or ran out of processor time
        raise Broken("it cannot be decoded")
    log.error("the picture decoder ended with %d before it read the picture", code)
    raise GenerationFailed("the picture's decoder cannot be started")


def _environment() -> dict[str, str]:
    """Minimal environment: Python starts with it; the secrets of this process stay out of it."""
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return {
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        "MALLOC_ARENA_MAX": "1",  # an arena of glibc's takes 64 MiB of address space, which is limited
        **({"LD_LIBRARY_PATH": libraries} if libraries else {}),
    }
