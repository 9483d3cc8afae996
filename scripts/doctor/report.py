"""The report: lines for people or one JSON document, without a secret in either."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from functions._shared.logs import CONTROL
from functions._shared.settings import Settings
from scripts.doctor.examine import Result, is_wrong
from scripts.doctor.findings import State

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")
DATABASES = ("supabase_db_url", "supabase_db_direct_url", "pgrst_db_uri")
NAMES_WIDTH = 20


def for_people(results: list[Result], redacted: Callable[[str], str]) -> str:
    """A line for each check; below it the line to type."""
    lines = []
    for result in results:
        finding = result.finding
        text = CONTROL.sub(" ", redacted(finding.text))
        lines.append(f"{finding.state.value:<10} {result.name:<{NAMES_WIDTH}} {text}")
        if finding.do:
            lines.append(f"{'':<{NAMES_WIDTH + 12}}→ {redacted(finding.do)}")
    counts = Counter(result.finding.state for result in results)
    lines.append(", ".join(f"{counts[state]} {state.value}" for state in State if counts[state]))
    return "\n".join(lines)


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
    secrets = sorted(_secrets(settings), key=len, reverse=True)

    def redacted(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return CREDENTIALS.sub("***", text)

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
