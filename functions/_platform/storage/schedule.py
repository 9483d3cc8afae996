"""The janitor's schedule: a job of the queue every hour, whichever process thinks of it first."""

from psycopg import AsyncConnection
from psycopg.rows import DictRow

FIRST_S = 300.0
EVERY_S = 3600.0
ENQUEUE = """
select public.enqueue_job('cleanup-storage', '{}', p_priority => -1, p_dedupe_key => 'storage-janitor')
where not exists (
    select from public.job_queue
    where job_type = 'cleanup-storage' and payload = '{}' and created_at > now() - %s * interval '1 second'
)
"""


async def queue_janitor(connection: AsyncConnection[DictRow]) -> bool:
    await connection.execute(ENQUEUE, (EVERY_S / 2,))
    return False
