"""A peer's programme as a child process: lines on its stdin and stdout, see README.md."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Programme:
    """A running programme."""

    def __init__(self, process: "subprocess.Popen[str]", name: str) -> None:
        self._process, self._name = process, name

    def say(self, *words: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def hear(self, word: str) -> list[float]:
        """The numbers of the next line, which must begin with ``word``. Raises RuntimeError at its end."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        found, *numbers = line.split() or [""]
        if found != word:
            raise RuntimeError(f"{self._name} said {line!r} instead of {word}")
        return [float(number) for number in numbers]


@contextmanager
def programme(command: Sequence[str], folder: Path, environ: dict[str, str]) -> Iterator[Programme]:
    """Run ``command`` in ``folder``; killed at the end of the block, as a worker's drain is not measured."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Programme(process, command[1])
        finally:
            process.kill()


def run(command: Sequence[str], folder: Path, environ: dict[str, str]) -> None:
    """Run ``command`` to its end. Raises RuntimeError with its error output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
