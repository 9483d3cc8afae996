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

from functions._shared.database.pool import DATABASE_DOWN
from functions._shared.database.schema import trouble_of
from functions._shared.errors import GenerationFailed
from functions._shared.provider.prediction import TERMINAL, Prediction
from functions._shared.provider.replicate import Failure, PredictionOver, Unreadable
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.generation import cancel, timed_out
from functions.process_generation.predictions import Due
from functions.process_generation.progress import how_far
from functions.process_generation.settle import settle, settle_without

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often an idle poller looks: for predictions that other processes parked, or that a cancelled job left."""
BATCH = 10_000
"""Many at once, as a page of the list is worth its call only if enough of those due are on it."""
AT_ONCE = 8
LISTED_FROM = 10
"""For each so many due, a page of the list, of a hundred, may be fetched first: one call for what may be many."""
ASKED_S = 10.0
"""What the provider may take to tell of one prediction, tries and all: the round waits for it."""


class Poller:
    """One to a process; ``run`` it until cancelled."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._alarm = resources.poll_alarm
        self._quiet_until = 0.0
        """The provider has asked us to wait: until then only what has to end is ended."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._reports: list[tuple[UUID, str, int]] = []
        """How far the ones looked at are."""

    async def run(self) -> None:
        while True:
            self._alarm.set(LOOK_S)
            try:
                if await self._look() == BATCH:
                    continue
            except DATABASE_DOWN as error:
                log.debug("the poller's database does not answer: %s", type(error).__name__)
            except (
                psycopg.Error
            ) as error:  # sql/ of another version, perhaps: an operator may mend it meanwhile
                trouble = await trouble_of(error, self._resources.pool)
                log.error("the poller cannot work: %s: %s", type(error).__name__, trouble)
            except Exception:
                log.exception("polling: bug")  # whatever it is, the next round may go well
            await self._alarm.wait()

    async def _look(self) -> int:
        """Ask for what is due; how many that was. Raises what the database raises, and that after all is done."""
        due = await predictions.claim_polls(self._resources.pool, BATCH)
        for one in due:
            self._alarm.expect(one.next_poll_s)
        listed = await self._listed(due) if len(due) >= LISTED_FROM and not self._quiet else {}
        self._reports.clear()
        others = [one for one in due if not self._goes_on(one, listed.get(one.prediction_id))]
        await self._report_progress()  # these need not wait for the others' answers
        outcomes = await asyncio.gather(
            *(self._follow(one, listed.get(one.prediction_id)) for one in others),
            return_exceptions=True,
        )
        await self._report_progress()
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return len(due)

    @property
    def _quiet(self) -> bool:
        return asyncio.get_running_loop().time() < self._quiet_until

    def _be_quiet(self, busy: GenerationFailed) -> None:
        until = asyncio.get_running_loop().time() + (busy.retry_after_s or 0)
        self._quiet_until = max(self._quiet_until, until)

    async def _listed(self, due: Collection[Due]) -> dict[str, Prediction]:
        """Those of ``due`` that the list has on its first pages. Finished and foreign ones are between them, so in the
        worst case the pages that were of no use add a tenth to the calls.
        """
        wanted = {one.prediction_id for one in due}
        oldest = min(one.created_at for one in due) - timedelta(minutes=1)
        found: dict[str, Prediction] = {}
        pages_left = len(wanted) // LISTED_FROM
        try:
            async for page in self._resources.replicate.recent(oldest):
                found |= {one.id: one for one in page if one.id in wanted}
                pages_left -= 1
                if not pages_left or len(found) == len(wanted):
                    break
        except Failure as error:
            log.warning("polling: the list could not be read: %s", error)
            if not isinstance(error, Unreadable):
                # Each of them would meet the same. One that cannot be read may be one's fault, so they are asked for.
                error.retry_after_s = error.retry_after_s or LOOK_S
                self._be_quiet(error)
        return found

    def _goes_on(self, due: Due, listed: Prediction | None) -> bool:
        """Whether the list says all there is to say: it runs, and may. True of nearly all, so it costs no task."""
        if due.expired or not due.wanted:
            return False
        if listed is None or listed.status in TERMINAL:
            return self._quiet and listed is None
        self._report(due, listed)
        return True

    async def _follow(self, due: Due, listed: Prediction | None) -> None:
        """Write the end of one prediction if it has come; cancel it if nobody wants it or its time is up.

        Raises DATABASE_DOWN only: whatever else one prediction brings about, the others go on.
        """
        async with self._slots:
            try:
                if not due.wanted:
                    await self._drop(due)
                elif not await self._has_ended(due, listed) and due.expired:
                    await self._end(due)
            except DATABASE_DOWN:
                raise
            except Exception:
                log.exception("prediction %s: bug", due.prediction_id)

    async def _drop(self, due: Due) -> None:
        await self._cancel(due)
        await predictions.abandon(self._resources.pool, due)

    async def _has_ended(self, due: Due, listed: Prediction | None) -> bool:
        """Whether the provider says so, and that is written. It may also say what nobody can read."""
        resources = self._resources
        try:
            prediction = listed
            if listed is None or (listed.status in TERMINAL and not listed.output):
                # An end without a picture is read from the prediction itself: a list may leave things out.
                async with asyncio.timeout(ASKED_S):
                    prediction = await resources.replicate.get(due.prediction_id)
            if prediction is not None:
                if await settle(resources, due, prediction):
                    return True
                self._report(due, prediction)
        except PredictionOver as over:
            await settle_without(resources, due, "failed", over)
            return True
        except GenerationFailed as error:
            # The same id is asked for again at its next time: a poll costs nothing, a new prediction does.
            log.warning("prediction %s: poll failed: %s", due.prediction_id, error)
            if error.retry_after_s:
                self._be_quiet(error)
        except TimeoutError:
            log.warning("prediction %s: no answer within %g s", due.prediction_id, ASKED_S)
        except DATABASE_DOWN:
            raise
        except Exception:
            if not due.expired:
                raise
            log.exception("prediction %s: bug", due.prediction_id)  # its time is up all the same
        return False

    async def _end(self, due: Due) -> None:
        """Its time is up: it is cancelled and its job ends, whether or not the provider has a word to say to that."""
        resources = self._resources
        await self._cancel(due)
        try:
            async with asyncio.timeout(ASKED_S):
                prediction = await resources.replicate.get(due.prediction_id)
            if prediction.status == "succeeded":  # in that very moment
                await settle(resources, due, prediction)
                return
        except DATABASE_DOWN:
            raise
        except Exception as error:  # noqa: BLE001 - what the provider said last is of no consequence
            log.warning("prediction %s: ended unread: %s", due.prediction_id, type(error).__name__)
        timeout_s = resources.settings.job_timeout_ms / 1000
        await settle_without(resources, due, "canceled", timed_out(timeout_s))

    async def _cancel(self, due: Due) -> None:
        """Ask for its end, for a while: Cancel-After ends it all the same."""
        try:
            async with asyncio.timeout(ASKED_S):
                await cancel(self._resources.replicate, due.prediction_id)
        except TimeoutError:
            log.warning("prediction %s: not cancelled in time", due.prediction_id)

    def _report(self, due: Due, prediction: Prediction) -> None:
        if due.generation_id:
            self._reports.append((due.generation_id, *how_far(prediction)))

    async def _report_progress(self) -> None:
        reports, self._reports = self._reports, []
        if reports:
            await predictions.report_progress(self._resources.pool, reports)
