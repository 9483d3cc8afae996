"""The report: lines for people or one JSON document, without a secret in either."""

import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from functions._shared.logs import CONTROL
from functions._shared.settings import Settings
from scripts.doctor.examine import Result, is_wrong
from scripts.doctor.findings import State, not_asked

CREDENTIALS = r"(?<=://)(?!<login>:<password>@)[^/@\s]*:[^/@\s]*(?=@)"
SHORT = 8
DATABASES = ("supabase_db_url", "supabase_db_direct_url", "pgrst_db_uri")
WIDTH = 100
STATES_WIDTH, NAMES_WIDTH = 9, 18
INDENT = " " * (STATES_WIDTH + NAMES_WIDTH + 2)
TO_TYPE = "  -> "
"""ASCII: a terminal of another encoding has to print it."""


def for_people(results: list[Result], redacted: Callable[[str], str]) -> str:
    """Each check's state, name and text, below them the line to type: WIDTH columns, where no word is longer.

    What is not asked for the same reason is told once.
    """
    lines = []
    for result in _grouped(results):
        finding = result.finding
        head = f"{finding.state.value:<{STATES_WIDTH}} {result.name:<{NAMES_WIDTH}} "
        lines += _folded(redacted(finding.text), head, INDENT)
        for line in filter(None, finding.do.split("\n")):
            lines += _folded(redacted(line), TO_TYPE, " " * len(TO_TYPE))
    counts = Counter(result.finding.state for result in results)
    lines.append(", ".join(f"{counts[state]} {state.value}" for state in State if counts[state]))
    return "\n".join(lines)


def _grouped(results: Iterable[Result]) -> list[Result]:
    """Checks that were not asked and have nothing to type become one for each reason, which has their names."""
    groups: dict[object, list[Result]] = {}
    for result in results:
        finding = result.finding
        alike = finding.state is State.NOT_ASKED and not finding.do
        groups.setdefault(finding if alike else result.name, []).append(result)
    return [group[0] if len(group) == 1 else _together(group) for group in groups.values()]


def _together(group: Sequence[Result]) -> Result:
    names = ", ".join(result.name for result in group)
    return Result(f"{len(group)} checks", not_asked(f"{group[0].finding.text}: {names}"), 0)


def _folded(text: str, first: str, following: str) -> list[str]:
    return textwrap.wrap(
        CONTROL.sub(" ", text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        # What is to be typed has to stay in one piece.
        break_long_words=False,
        break_on_hyphens=False,
    )


def for_programs(results: list[Result], redacted: Callable[[str], str]) -> str:
    """``{"ok": bool, "checks": [{"name", "state", "text", "do", "ms"}, …]}``."""
    checks = [
        {
            "name": result.name,
            "state": result.finding.state.value,
            "text": redacted(result.finding.text),
            "do": redacted(result.finding.do) or None,
            "ms": result.ms,
        }
        for result in results
    ]
    return json.dumps({"ok": not is_wrong(results), "checks": checks}, ensure_ascii=False)


def redactor(settings: Settings) -> Callable[[str], str]:
    """Texts of others (libpq, a proxy, Storage) may quote what we sent: no secret of ``settings`` gets through."""
    secrets = sorted(map(re.escape, _secrets(settings)), key=len, reverse=True)
    # A short one is part of many a word.
    bounded = [one if len(one) >= SHORT else rf"(?<!\w){one}(?!\w)" for one in secrets]
    anywhere = re.compile("|".join([*bounded, CREDENTIALS]))

    def redacted(text: str) -> str:
        return anywhere.sub("***", text)

    return redacted


def _secrets(settings: Settings) -> Iterable[str]:
    for name in type(settings).model_fields:
        yield from _within(getattr(settings, name))
    for name in DATABASES:
        if url := getattr(settings, name):
            parts = conninfo_to_dict(url.get_secret_value())
            # The local stack's well-known one is no secret, and a word of every second line.
            if parts.get("password") not in {None, "", "postgres"}:
                yield str(parts["password"])
    for key in settings.supabase_signing_keys:
        yield str(key.private["d"])


def _within(value: Any) -> Iterable[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _within(one)
