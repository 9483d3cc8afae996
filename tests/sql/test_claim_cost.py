"""Old rows cost nothing: the pages a claim or an end touches do not grow with what is finished, future or running."""

import pytest

from scripts.bench.claims import FUTURE, HISTORY, RUN, pages

pytestmark = pytest.mark.slow

WAITING = "insert into job_queue (job_type) select 'bench' from generate_series(1, 500)"
ELSEWHERE = """
select pause_queue('paused');
insert into job_queue (job_type) select 'paused' from generate_series(1, 50000);
insert into job_queue (job_type) select 'other' from generate_series(1, 50000);
insert into job_queue (job_type, status) select 'bench', 'processing' from generate_series(1, 2000)
"""


@pytest.mark.parametrize("limit", [1, 10])
def test_a_claim_touches_as_few_pages_in_a_full_table_as_in_a_small_one(db, connect, limit):
    claim = f"select * from claim_jobs({limit}, p_job_types => '{{bench}}')"
    plain = connect_plain(connect)
    db.execute(WAITING)
    small = measure(plain, claim)
    db.execute(HISTORY, (1_000_000 if limit == 10 else 100_000,))
    db.execute(FUTURE, (100_000,))
    for statement in ELSEWHERE.split(";"):
        db.execute(statement)
    full = measure(plain, claim)  # with statistics as old as can be …
    db.execute("vacuum analyze job_queue")
    tidy = measure(plain, claim)  # … and fresh
    # A deeper index, more lanes to look past, 30 running rows whose lease is looked at, index entries not yet vacuumed:
    # hundreds. Walking one lane, or what is finished, would be tens of thousands.
    assert full <= small + 1000
    assert tidy <= small + 1000


def test_other_types_cost_a_claim_nothing_however_many_they_are(db, connect):
    """A job type a tenant: with 20,000 of them a claim of one type took 400 ms."""
    plain = connect_plain(connect)
    claim = "select * from claim_jobs(10, p_job_types => '{bench}')"
    db.execute(WAITING)
    small = measure(plain, claim)
    db.execute(
        "insert into job_queue (job_type) select 'tenant ' || n from generate_series(1, 20000) as n"
    )
    db.execute("vacuum analyze job_queue")
    assert measure(plain, claim) <= small + 300


def test_an_end_touches_as_few_pages_whatever_the_table_was_when_it_was_planned(db, connect):
    """A session plans once, perhaps beside ten rows."""
    plain = connect_plain(connect)
    end = "select complete_jobs(array_agg(id), array_agg(lease_token)) from (select * from claim_jobs(3)) as claimed"
    db.execute(WAITING)
    small = measure(plain, end)
    db.execute(HISTORY, (200_000,))
    assert measure(plain, end) <= small + 300
    db.execute("vacuum analyze job_queue")
    assert measure(plain, end) <= small + 300
    assert measure(connect_plain(connect), end) <= small + 300


@pytest.mark.parametrize("user", ["null", "gen_random_uuid()"])
def test_an_old_snapshot_costs_a_claim_nothing(db, connect, user):
    """Dead tuples that VACUUM may not remove: with 20,000 of them a claim read 39,000 pages."""
    plain, holder = connect_plain(connect), connect(autocommit=False)
    fill = (
        f"select enqueue_job('bench', '{{}}', p_created_by => {user}) from generate_series(1, 100)"
    )
    holder.execute("set transaction isolation level repeatable read; select from job_queue limit 1")
    db.execute(fill)
    for _ in range(50):
        db.execute(fill)
        plain.execute(RUN)
    plain.execute("select * from claim_jobs(1)")
    # The second look of a second reads from the very start: the least of three claims is none of that.
    assert min(pages(plain, "select * from claim_jobs(1)") for _ in range(3)) <= 300


def connect_plain(connect):
    """Rows come as tuples, as the bench wants them."""
    connection = connect()
    connection.row_factory = lambda cursor: tuple
    return connection


def measure(connection, claim):
    for _ in range(8):  # what the session has to learn about the catalogue is not the claim's
        connection.execute(claim)
    return pages(connection, claim)
