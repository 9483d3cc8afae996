"""Steps of jobs, batched: one SQL function that advances one job, called for many jobs in one statement and one commit.

Natural batching (``batching.py``): a lone step is sent at once, those that come meanwhile share the next round trip and
its fsync. Head-of-line blocking: a job whose row is locked by another session is left out of the batch (skip locked),
and waits for its lock in a statement of its own. A refused step fails its batch, whose halves are then run apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from functions._shared import tracing
from functions._shared.database.batching import Batcher
from functions._shared.database.pool import Pool

MOST = 32
"""Steps of one statement: each waits for its neighbours, about half a millisecond for one."""

Values = tuple[Any, ...]
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Step:
    """``call``: the SQL function's call, on columns of ``given``; ``reads``: what is selected of its row, ``step``.

    ``columns``: name → SQL type of the values of one call; one of them is ``job_id``, the row that the call locks.
    """

    call: str
    reads: str
    columns: Mapping[str, str]
    _batchers: WeakKeyDictionary[Pool, Batcher[Values, Row | None]] = field(
        default_factory=WeakKeyDictionary
    )

    async def run(self, pool: Pool, *values: Any) -> Row:
        """The function's row, of nulls where it returned none. Raises psycopg.Error.

        A cancelled caller's step is finished first: the cancellation is raised after that.
        """
        if pool not in self._batchers:
            self._batchers[pool] = Batcher(partial(self._together, pool), MOST)
        with tracing.statement(self.call.partition("(")[0]):
            row = await self._batchers[pool].do(values)
            if row is None:
                [row] = await self._execute(pool, self._given, [values])
        assert row is not None
        return row

    async def _together(self, pool: Pool, calls: Sequence[Values]) -> Sequence[Row | None]:
        """The row of each call; None for a call that was left out: its job is locked elsewhere, or gone."""
        return await self._execute(pool, self._given if len(calls) == 1 else self._unlocked, calls)

    async def _execute(
        self, pool: Pool, given: str, calls: Sequence[Values]
    ) -> Sequence[Row | None]:
        statement = (
            f"select given.place, {self.reads} from ({given}) as given"  # noqa: S608 - all parts are literals of ours
            f" left join lateral {self.call} as step on true"
        )
        rows: dict[int, Row] = {}
        async with pool.connection() as connection:
            arrays = [list(column) for column in zip(*calls, strict=True)]
            cursor = await connection.execute(statement.encode(), arrays, binary=True)
            async for row in cursor:
                rows[row.pop("place")] = row
        return [rows.get(place) for place in range(1, len(calls) + 1)]

    @property
    def _given(self) -> str:
        arrays = ", ".join(f"%s::{kind}[]" for kind in self.columns.values())
        names = ", ".join(self.columns)
        return f"select * from unnest({arrays}) with ordinality as given ({names}, place)"  # noqa: S608 - as above

    @property
    def _unlocked(self) -> str:
        # In the order of ids, as every statement that locks several jobs: no deadlock among them.
        return (
            f"select given.* from ({self._given}) as given"  # noqa: S608 - as above
            " inner join public.job_queue on job_queue.id = given.job_id"
            " order by job_queue.id for update of job_queue skip locked"
        )
