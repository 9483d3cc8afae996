"""``make bench``: the pages of docs/PERFORMANCE.md, or those named in PAGES (``all``: every one).

Pages: http processes gateway queue enqueue jobs wakeup claims pictures parked sharing platform storage realtime
hostile. ROUNDS (5) is how often all of a page is measured in turn, SECONDS (1) the duration of a timed cell in a round,
ROWS (1,000,000) the number of finished jobs in the table, COUNT (100) the number of samples in percent. PEERS=1
measures other projects' programs as well, see peers/. OUT (bench.json) is written; COMPARE names an earlier one of it.
"""

import sys
import time

from scripts.bench.figures import Figure, by_key
from scripts.bench.options import Options
from scripts.bench.pages import PAGES, pages_of
from scripts.bench.run import Run, measure
from scripts.bench.tables import comparison, table
from scripts.interrupts import interruptible


def main() -> int:
    try:
        options = Options.from_env()
        pages = pages_of(options.pages)
        old = Run.read(options.compare) if options.compare else None
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    began = time.monotonic()
    run = measure(options, pages, show)
    about = run.about
    machine, settings = about["machine"], about["postgres"]["settings"]
    print(
        f"\n{machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, Linux {machine['kernel']},"
        f" Python {machine['python']}\n{about['postgres']['version']}: "
        + ", ".join(f"{name}={value}" for name, value in settings.items())
    )
    print(f"median of {options.rounds} rounds (least–greatest), {options.seconds} s each")
    if old:
        print(f"\nBeside {options.compare}, commit {old.about['project']['commit']}")
        print(*comparison(by_key(run.figures), by_key(old.figures)), sep="\n")
    run.write(options.out)
    print(f"\n{time.monotonic() - began:.0f} s in all; written to {options.out}")
    return 0


def show(name: str, figures: list[Figure]) -> None:
    """Print a page's table."""
    print(f"\n{name}: {PAGES[name].title}")
    print(*table(figures), sep="\n", flush=True)


if __name__ == "__main__":
    raise SystemExit(interruptible(main))
