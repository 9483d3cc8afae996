"""The child process of ``decoder.py``: python -m functions._shared.pictures.decoder_child PURPOSE MOST_PIXELS BYTES.

stdin   the picture
stdout  its new format, a line feed, the new file
exit    0; TOO_MANY_PIXELS; TOO_LARGE; BROKEN; any other: the decoder itself could not start

The kernel ends it beyond CPU_S of processor time, and refuses it memory beyond BYTES.
"""

import os
import resource
import sys

CPU_S = 30
TOO_MANY_PIXELS, TOO_LARGE, BROKEN = 3, 4, 5
MOST_RESULT_BYTES = 50 * 1024 * 1024
"""Of the new file, which the parent holds in memory; Storage's own limit by default."""
NICENESS = 5


def main(purpose: str, most_pixels: int, most_bytes: int) -> int:
    _limit(resource.RLIMIT_AS, most_bytes)
    _limit(resource.RLIMIT_CPU, CPU_S)
    _limit(resource.RLIMIT_CORE, 0)
    os.nice(NICENESS)
    from functions._shared.pictures.decoding import TooManyPixels, converted

    try:
        new, new_format = converted(
            sys.stdin.buffer.read(), "source" if purpose == "source" else "output", most_pixels
        )
    except TooManyPixels:
        return TOO_MANY_PIXELS
    except Exception:  # noqa: BLE001 - decoders raise errors of any class for a broken file
        return BROKEN
    if len(new) > MOST_RESULT_BYTES:
        return TOO_LARGE
    sys.stdout.buffer.write(new_format.encode() + b"\n" + new)
    sys.stdout.buffer.flush()
    return 0


def _limit(kind: int, most: int) -> None:
    """Set a resource limit; a lower hard limit of a container or a service manager stays, as raising it is refused."""
    hard = resource.getrlimit(kind)[1]
    lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (lower, lower))


if __name__ == "__main__":
    # Not sys.exit: nothing is to be tidied up, and destructors of a large raster take time.
    os._exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
