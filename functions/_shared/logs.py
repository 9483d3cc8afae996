"""Log lines for people (console) or programs (json). Prompts, tokens and keys are never in them."""

import logging

from pythonjsonlogger.json import JsonFormatter

from functions._shared.envelope import request_id
from functions._shared.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Set up the root logger by LOG_LEVEL and LOG_FORMAT."""
    handler = logging.StreamHandler()
    if settings.log_format == "json":
        handler.setFormatter(
            JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s")
        )
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s%(request)s")
        )
    handler.addFilter(_name_request)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(
        logging.ERROR
    )  # it warns at each reconnect attempt; we say it once


def _name_request(record: logging.LogRecord) -> bool:
    name = request_id.get()
    record.request_id = name
    record.request = f" [{name}]" if name else ""
    return True
