"""A start touches few pages, however much its user has queued: by sessions that planned it at any time before."""

import pytest

from scripts.bench.claims import pages
from tests.sql.help import USER

START = """
select * from picture_edge.start_generations(array_fill('{user}'::uuid, array[{n}]),
    array_fill('{{"prompt": "a fox", "model_id": "black-forest-labs/flux-schnell"}}'::jsonb, array[{n}]))
"""


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_start_touches_as_few_pages_whatever_the_queue_was_when_it_was_planned(connect, at_once):
    """A session plans once. With a plan from 150 rows each start read all jobs of its user, and all open uses."""
    start, fill = START.format(user=USER, n=at_once), START.format(user=USER, n=150)
    sessions = []
    for _ in range(4):
        session = connect()
        session.row_factory = lambda cursor: tuple
        session.execute(start)
        sessions.append(session)
        sessions[0].execute(fill)
    few = [pages(session, start) for session in sessions]
    for _ in range(40):
        sessions[0].execute(fill)
    for session, before in zip(sessions, few, strict=True):
        assert pages(session, start) <= before + 30 * at_once
