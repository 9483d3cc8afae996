"""The child process of ``decoder.py``: python -m functions._shared.pictures.decoder_child PURPOSE MOST_PIXELS BYTES.

stdin   the picture
stdout  its new format, a line feed, the new file
exit    0; TOO_MANY_PIXELS; TOO_LARGE; 1: it cannot be decoded

The kernel ends it beyond CPU_S of processor time, and refuses it memory beyond BYTES.
"""

import os
import resource
import sys

CPU_S = 30
TOO_MANY_PIXELS, TOO_LARGE = 3, 4
MOST_RESULT_BYTES = 50 * 1024 * 1024
"""Of the new file, which the parent holds in memory; Storage's own limit by default."""
NICENESS = 5


def main(purpose: str, most_pixels: int, most_bytes: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    from functions._shared.pictures.decoding import TooManyPixels, converted

    try:
        new, new_format = converted(
            sys.stdin.buffer.read(), "source" if purpose == "source" else "output", most_pixels
        )
    except TooManyPixels:
        return TOO_MANY_PIXELS
    except Exception:  # noqa: BLE001 - decoders raise errors of any class for a broken file
        return 1
    if len(new) > MOST_RESULT_BYTES:
        return TOO_LARGE
    sys.stdout.buffer.write(new_format.encode() + b"\n" + new)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    # Not sys.exit: nothing is to be tidied up, and destructors of a large raster take time.
    os._exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
