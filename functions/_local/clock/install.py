"""Install the stand-ins for pg_cron and pg_net, each only where the real extension is absent."""

import logging
from pathlib import Path

from psycopg import AsyncConnection
from psycopg.rows import DictRow

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
EXTENSIONS = {"cron": "pg_cron", "net": "pg_net"}
"""Schema → the extension that owns it on Supabase."""

STATE = """
select exists (select from pg_catalog.pg_extension where extname = %(extension)s) as real,
    to_regnamespace(%(schema)s) is not null as present,
    coalesce(obj_description(to_regnamespace(%(schema)s), 'pg_namespace'), '') like 'Stand-in for %%' as ours
"""


async def install(connection: AsyncConnection[DictRow]) -> set[str]:
    """Install or upgrade the stand-ins of absent extensions; returns the schemas to serve.

    A schema named ``cron`` or ``net`` that belongs to neither the extension nor us is left alone.
    """
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
