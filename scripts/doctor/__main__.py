"""``python -m scripts.doctor [--local] [--json]``: exit code 1 where something is wrong."""

import argparse
import asyncio
import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing

from functions._local.defaults import local_environment
from functions._shared.settings import Settings, SettingsError, read_environment
from scripts.doctor.examine import Result, examine, is_wrong
from scripts.doctor.findings import wrong
from scripts.doctor.report import for_people, for_programs, redactor

LOAD = (
    "set -a; . /etc/picture-edge.env; set +a   # for the stack of make up: make doctor ARGS=--local"
)
EDIT = "sudoedit /etc/picture-edge.env   # or .env"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__)
    parser.add_argument("--local", action="store_true", help="the stack of make up")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args(given)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that is not of UTF-8 shows the rest
    environ = read_environment()
    report = for_programs if arguments.json else for_people
    try:
        settings = Settings.from_env(local_environment(environ) if arguments.local else environ)
    except SettingsError as error:
        do = LOAD if "is not set" in str(error) else EDIT
        return _print(report([Result("settings", wrong(str(error), do), 0)], str)) or 1
    # Not asyncio.run: it joins the threads of its executor, one of which may hang in a look-up (DNS) or a disk (NFS).
    with closing(asyncio.new_event_loop()) as loop:
        results = loop.run_until_complete(examine(settings))
    return _print(report(results, redactor(settings))) or int(is_wrong(results))


def _print(text: str) -> int:
    """1 where it could not be written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # "doctor | head" closed the pipe
        pass
    except OSError as error:
        print(f"The report was not written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    logging.disable()  # the report says what is wrong, and nothing runs on beside it
    os._exit(main())  # for the same reason: Python's own exit joins them, too
