"""``python -m scripts.doctor [--local] [--json]``: exit code 1 where something is wrong."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from contextlib import closing

from functions._local.defaults import local_environment
from functions._shared.logs import configure_logging
from functions._shared.settings import Settings, SettingsError, read_environment
from scripts.doctor.examine import Result, examine, is_wrong
from scripts.doctor.findings import wrong
from scripts.doctor.report import for_people, for_programs, redactor

LOAD = (
    "set -a; . /etc/picture-edge.env; set +a   # for the stack of make up: make doctor ARGS=--local"
)


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__)
    parser.add_argument("--local", action="store_true", help="the stack of make up")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args(given)
    environ = read_environment()
    report = for_programs if arguments.json else for_people
    try:
        settings = Settings.from_env(local_environment(environ) if arguments.local else environ)
    except SettingsError as error:
        print(report([Result("settings", wrong(str(error), LOAD), 0)], str), flush=True)
        return 1
    configure_logging(settings.model_copy(update={"log_level": "ERROR"}))
    # Not asyncio.run: it joins the threads of its executor, one of which may hang in a look-up (DNS) or a disk (NFS).
    with closing(asyncio.new_event_loop()) as loop:
        results = loop.run_until_complete(examine(settings))
    try:
        print(report(results, redactor(settings)), flush=True)
    except BrokenPipeError:  # "doctor | head" closed the pipe
        pass
    return 1 if is_wrong(results) else 0


if __name__ == "__main__":
    os._exit(main())  # for the same reason: Python's own exit joins them, too
