"""The overview: whether all is well, and where it is not."""

from starlette.responses import Response

from functions._operate.visit import Visit

QUEUE = """
select count(*) filter (where status = 'pending') as waiting, count(*) filter (where status = 'processing') as running
from public.job_queue where status in ('pending', 'processing')
"""


async def overview(visit: Visit) -> Response:
    async with visit.reading() as reader:
        queue = await reader.row(QUEUE)
    return visit.show("overview.html", {"queue": queue})
