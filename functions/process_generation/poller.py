"""The poller: asks the provider for the parked predictions that are due, however many, in as few calls as will do.

Every process has one. Each due prediction is handed to one of them by the database, which also keeps the distance that
grows from poll to poll; so there is no leader, and none is missed when a process dies.
"""

import asyncio
import logging
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import psycopg

from functions._shared.database import DATABASE_DOWN
from functions._shared.errors import GenerationFailed
from functions._shared.replicate import TERMINAL, Failure, Prediction, PredictionOver
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.generation import cancel, timed_out
from functions.process_generation.predictions import Due
from functions.process_generation.progress import how_far
from functions.process_generation.settle import settle, settle_without

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often an idle poller looks: for predictions that other processes parked, or that a cancelled job left."""
SETTLED_S = 0.01
"""Later than the database said, so that it is due by the database's clock as well."""
BATCH = 10_000
"""Many at once, as a page of the list is worth its call only if enough of those due are on it."""
AT_ONCE = 8
LISTED_FROM = 10
"""For each so many due, a page of the list, of a hundred, may be fetched first: one call for what may be many."""

KNOWN = (*DATABASE_DOWN, psycopg.Error, Failure)


class Poller:
    """One to a process; ``run`` it until cancelled."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._due_at = 0.0
        """When this process has something to look at, by the loop's clock."""
        self._sooner = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._reports: list[tuple[UUID, str, int]] = []
        """How far the ones looked at are."""

    def expect(self, seconds: float) -> None:
        """A prediction is due in so many seconds."""
        at = asyncio.get_running_loop().time() + seconds + SETTLED_S
        if at < self._due_at:
            self._due_at = at
            self._sooner.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._due_at = loop.time() + LOOK_S
            try:
                if await self._look() == BATCH:
                    continue
            except DATABASE_DOWN as error:
                log.debug("the poller's database does not answer: %s", type(error).__name__)
            except (
                psycopg.Error
            ) as error:  # sql/ is not what we need; it may be mended while we look on
                log.error("the poller cannot work: %s", type(error).__name__)
            except Failure as error:
                log.warning("polling: %s", error)
                await asyncio.sleep(error.retry_after_s or LOOK_S)
            while (left_s := self._due_at - loop.time()) > 0:
                self._sooner.clear()
                try:
                    async with asyncio.timeout(left_s):
                        await self._sooner.wait()
                except TimeoutError:
                    break

    async def _look(self) -> int:
        """Ask for what is due; how many that was."""
        due = await predictions.claim_polls(self._resources.pool, BATCH)
        for one in due:
            self.expect(one.next_poll_s)
        listed = await self._listed(due) if len(due) >= LISTED_FROM else {}
        self._reports.clear()
        others = [one for one in due if not self._goes_on(one, listed.get(one.prediction_id))]
        outcomes = await asyncio.gather(
            *(self._follow(one, listed.get(one.prediction_id)) for one in others),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, KNOWN):
                raise outcome
            if outcome is not None:
                log.error("polling: bug", exc_info=outcome)  # of one prediction; the others go on
        if self._reports:
            await predictions.report_progress(self._resources.pool, self._reports)
        return len(due)

    async def _listed(self, due: Collection[Due]) -> dict[str, Prediction]:
        """Those of ``due`` that the list has on its first pages. Finished and foreign ones are between them, so in the
        worst case the pages that were of no use add a tenth to the calls.
        """
        wanted = {one.prediction_id for one in due}
        oldest = min(one.created_at for one in due) - timedelta(minutes=1)
        found: dict[str, Prediction] = {}
        pages_left = len(wanted) // LISTED_FROM
        async for page in self._resources.replicate.recent(oldest):
            found |= {one["id"]: one for one in page if one["id"] in wanted}
            pages_left -= 1
            if not pages_left or len(found) == len(wanted):
                break
        return found

    def _goes_on(self, due: Due, listed: Prediction | None) -> bool:
        """Whether the list says all there is to say: it runs, and may. True of nearly all, so it costs no task."""
        if listed is None or listed["status"] in TERMINAL or due.expired or not due.wanted:
            return False
        self._report(due, listed)
        return True

    async def _follow(self, due: Due, listed: Prediction | None) -> None:
        """Write the end of one prediction if it has come; cancel it if nobody wants it or its time is up."""
        resources, replicate = self._resources, self._resources.replicate
        async with self._slots:
            if not due.wanted:
                await cancel(replicate, due.prediction_id)
                await predictions.abandon(resources.pool, due)
                return
            try:
                prediction = listed
                if listed is None or (listed["status"] in TERMINAL and not listed.get("output")):
                    # An end without a picture is read from the prediction itself: a list may leave things out.
                    prediction = await replicate.get(due.prediction_id)
                if prediction is not None:
                    if await settle(resources, due, prediction):
                        return
                    self._report(due, prediction)
                if due.expired:
                    await cancel(replicate, due.prediction_id)
                    prediction = await replicate.get(due.prediction_id)
                    if prediction["status"] == "succeeded":  # in that very moment
                        await settle(resources, due, prediction)
                        return
                    timeout_s = resources.settings.job_timeout_ms / 1000
                    await settle_without(resources, due, "canceled", timed_out(timeout_s))
            except PredictionOver as over:
                await settle_without(resources, due, "failed", over)
            except GenerationFailed as error:
                # The same id is asked for again at its next time: a poll costs nothing, a new prediction does.
                log.warning("prediction %s: poll failed: %s", due.prediction_id, error)
                if error.retry_after_s:
                    raise

    def _report(self, due: Due, prediction: Prediction) -> None:
        if due.generation_id:
            self._reports.append((due.generation_id, *how_far(prediction)))
