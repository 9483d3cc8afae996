"""``python -m functions._local.clock``: serve the stand-ins until SIGTERM, on SUPABASE_DB_DIRECT_URL where it is set,
else on SUPABASE_DB_URL.
"""

import asyncio
import signal
import sys

from functions._local.clock.clock import BehindPooler, run_clock
from functions._shared.logs import configure_logging
from functions._shared.settings import Settings, SettingsError


async def main(settings: Settings) -> None:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    address = settings.supabase_db_direct_url or settings.supabase_db_url
    await run_clock(address.get_secret_value())


if __name__ == "__main__":
    try:
        loaded = Settings.from_env()
    except SettingsError as error:
        sys.exit(f"Cannot start: {error}")
    configure_logging(loaded)
    try:
        asyncio.run(main(loaded))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    except BehindPooler as error:
        sys.exit(f"Cannot serve: {error}")
