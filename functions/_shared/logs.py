"""Logging for people (console) or programs (JSON): no prompts, tokens or keys, and no log injection."""

import logging
import re
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import psycopg
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from functions._shared.settings import Settings

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Correlation id of the request that is being answered; empty in the worker's tasks."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""C0 and C1 control characters, terminal escapes among them, and Unicode's line separators."""


def configure_logging(settings: Settings) -> None:
    """Set up the root logger by LOG_LEVEL and LOG_FORMAT."""
    handler = logging.StreamHandler()
    if settings.log_format == "json":
        handler.setFormatter(
            DiscreetJsonFormatter(
                "%(levelname)s %(name)s %(message)s %(request_id)s",
                timestamp="time",  # ISO 8601 in UTC
                rename_fields={"levelname": "level", "name": "logger"},
                # color_message: uvicorn's second copy of its message, with terminal escapes
                reserved_attrs=[*RESERVED_ATTRS, "request", "color_message"],
            )
        )
    else:
        handler.setFormatter(
            ConsoleFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s%(request)s")
        )
    handler.addFilter(_name_request)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # psycopg warns at each reconnect attempt, and of each statement that a task's cancellation interrupts: the worker
    # logs an outage once, and a cancelled job is a normal event.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


class DiscreetFormatter(logging.Formatter):
    """Redacts tracebacks: PostgreSQL's DETAIL quotes rows, prompts among them; only the primary message stays."""

    def formatException(self, ei: Any) -> str:
        text = super().formatException(ei)
        for error in _chain(ei[1]):
            if isinstance(error, psycopg.Error) and error.diag.message_primary:
                text = text.replace(str(error), error.diag.message_primary)
        return text


class ConsoleFormatter(DiscreetFormatter):
    """Log injection: control characters are escaped, so that untrusted text forges no second line."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """ISO 8601 with the zone: a line of another machine, or of before a change of the hour, can be placed."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone()
        return at.isoformat(sep=" ", timespec="milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = CONTROL.sub(lambda it: f"\\x{ord(it[0]):02x}", record.message.rstrip())
        return super().formatMessage(record)


class DiscreetJsonFormatter(DiscreetFormatter, JsonFormatter):
    """``{"time", "level", "logger", "event", "message", "request_id"}`` a line, and an event's own fields.

    ``request_id`` within a request only. ``event`` is what programs match, as messages may be reworded: a call names it
    (``extra``), as ``job_ended`` and ``request`` are, else it is the place in the code, ``health.look_at_clock``.
    """

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data.setdefault("event", f"{record.module}.{record.funcName}")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        if not log_data.get("request_id"):
            log_data.pop("request_id", None)
        return super().process_log_record(log_data)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` with its causes, contexts and group members."""
    if error:
        yield error
        yield from _chain(error.__cause__)
        yield from _chain(error.__context__)
        for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from _chain(part)


def _name_request(record: logging.LogRecord) -> bool:
    name = request_id.get()
    record.request_id = name
    record.request = f" [{name}]" if name else ""
    return True
