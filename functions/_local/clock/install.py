"""Which of pg_cron and pg_net the clock has to serve in a database: those it lacks, whose stand-ins are installed."""

import logging
from pathlib import Path

from psycopg import AsyncConnection
from psycopg.rows import DictRow

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
EXTENSIONS = {"cron": "pg_cron", "net": "pg_net"}
"""Schema → the extension that it belongs to."""

STATE = """
select exists (select from pg_catalog.pg_extension where extname = %(extension)s) as real,
    to_regnamespace(%(schema)s) is not null as present,
    coalesce(obj_description(to_regnamespace(%(schema)s), 'pg_namespace'), '') like 'Stand-in for %%' as ours
"""


async def install(connection: AsyncConnection[DictRow]) -> set[str]:
    """Install or renew the stand-ins of what is absent; returns the schemas to serve, of ``cron`` and ``net``."""
    served = set()
    for schema, extension in EXTENSIONS.items():
        cursor = await connection.execute(STATE, {"extension": extension, "schema": schema})
        state = await cursor.fetchone()
        assert state
        if state["real"]:
            log.info("%s is here itself: not served", extension)
        elif state["present"] and not state["ours"]:
            log.warning("schema %s is neither %s's nor ours: not served", schema, extension)
        else:
            async with connection.transaction():
                await connection.execute((FOLDER / f"{schema}.sql").read_bytes())
            served.add(schema)
    return served
