"""The poller: asks the provider for the parked predictions that are due, in as few calls as possible.

One to a process, without a leader: the database hands each due prediction to one of them and keeps the growing distance
between its polls, so the death of a process leaves none unpolled.
"""

import asyncio
import logging
from collections.abc import Collection
from uuid import UUID

import psycopg

from functions._shared.database.schema import trouble_of
from functions._shared.database.sqlstates import is_down
from functions._shared.errors import GenerationFailed
from functions._shared.provider.failures import Failure, PredictionOver, Unreadable
from functions._shared.provider.prediction import TERMINAL, Prediction
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.adopt import CLOCK_SKEW
from functions.process_generation.predictions import DuePrediction
from functions.process_generation.progress import how_far
from functions.process_generation.terminal import (
    cancel,
    settle,
    settle_without_picture,
    timed_out,
)

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often an idle poller looks: other processes park predictions too, and a cancelled job leaves one behind."""
BATCH = 20_000
"""The most due predictions of one round. Large: each round reads the list from its newest page on, so that two rounds
of half as many read most pages twice. About a kilobyte each, for as long as the round."""
AT_ONCE = 8
LISTED_FROM = 10
"""Due predictions per page of the provider's list (of a hundred) that may be fetched first: one call for many."""
ASKED_S = 10.0
"""How long the provider may take for one prediction, retries included: the round waits for its answer."""


class Poller:
    """One to a process; ``run`` it until cancelled. ``Resources.poll_alarm`` wakes it."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._alarm = resources.poll_alarm
        self._limited_until = 0.0
        """Until then, by the event loop's clock, a rate limit (429) holds: only expired predictions are asked for."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._reports: list[tuple[UUID, str, int]] = []
        """Progress that this round has learnt: generation, stage, percent."""

    async def run(self) -> None:
        while True:
            self._alarm.set(LOOK_S)
            try:
                if await self._look() == BATCH:
                    continue
            except psycopg.Error as error:
                # Not the end of the loop: perhaps sql/ is of another version, and an operator mends it meanwhile.
                trouble = await trouble_of(error, self._resources.pool)
                level = logging.DEBUG if is_down(error) else logging.ERROR
                log.log(level, "the poller cannot work: %s: %s", type(error).__name__, trouble)
            except Exception:
                log.exception("polling: bug")  # the next round may succeed
            await self._alarm.wait()

    async def _look(self) -> int:
        """One round: poll the due predictions; how many. Raises a database error, after the whole round is done."""
        due = await predictions.claim_polls(self._resources.pool, BATCH)
        for one in due:
            self._alarm.expect(one.next_poll_s)
        listed = (
            await self._listed(due) if len(due) >= LISTED_FROM and not self._rate_limited else {}
        )
        self._reports.clear()
        others = [one for one in due if not self._still_runs(one, listed.get(one.prediction_id))]
        await self._report_progress()  # before the answers of the others, which may take ASKED_S
        outcomes = await asyncio.gather(
            *(self._poll(one, listed.get(one.prediction_id)) for one in others),
            return_exceptions=True,
        )
        await self._report_progress()
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return len(due)

    @property
    def _rate_limited(self) -> bool:
        return asyncio.get_running_loop().time() < self._limited_until

    def _obey_rate_limit(self, busy: GenerationFailed) -> None:
        until = asyncio.get_running_loop().time() + (busy.retry_after_s or 0)
        self._limited_until = max(self._limited_until, until)

    async def _listed(self, due: Collection[DuePrediction]) -> dict[str, Prediction]:
        """The due predictions on the first pages of the provider's list, by id.

        Finished and foreign predictions are on them too: in the worst case the pages add a tenth to the calls.
        """
        wanted = {one.prediction_id for one in due}
        oldest = min(one.created_at for one in due) - CLOCK_SKEW
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
                # A poll of each would fail alike. Not so for an unreadable page: one prediction may have spoilt it.
                error.retry_after_s = error.retry_after_s or LOOK_S
                self._obey_rate_limit(error)
        return found

    def _still_runs(self, due: DuePrediction, listed: Prediction | None) -> bool:
        """Whether the list suffices: the prediction runs, and may go on. True of nearly all, so it costs no task."""
        if due.expired or not due.wanted:
            return False
        if listed is None or listed.status in TERMINAL:
            return self._rate_limited and listed is None
        self._report(due, listed)
        return True

    async def _poll(self, due: DuePrediction, listed: Prediction | None) -> None:
        """Settle one prediction if it has ended; cancel it if its job has ended or it has expired.

        Raises psycopg.Error (``is_down``) only (bulkhead): another error of one prediction leaves the others alone.
        """
        async with self._slots:
            try:
                if not due.wanted:
                    await self._abandon(due)
                elif not await self._has_ended(due, listed) and due.expired:
                    await self._expire(due)
            except Exception as error:
                if is_down(error):
                    raise
                log.exception("prediction %s: bug", due.prediction_id)

    async def _abandon(self, due: DuePrediction) -> None:
        await self._cancel(due)
        await predictions.abandon(self._resources.pool, due)

    async def _has_ended(self, due: DuePrediction, listed: Prediction | None) -> bool:
        """Whether the provider reports a terminal status, which is then written."""
        resources = self._resources
        try:
            prediction = listed
            if listed is None or (listed.status in TERMINAL and not listed.output):
                # A terminal status without output is read from the prediction itself: the list may omit fields.
                async with asyncio.timeout(ASKED_S):
                    prediction = await resources.replicate.get(due.prediction_id)
            if prediction is not None:
                if await settle(resources, due, prediction):
                    return True
                self._report(due, prediction)
        except PredictionOver as over:
            await settle_without_picture(resources, due, "failed", over)
            return True
        except GenerationFailed as error:
            # Retry the poll when it is next due: it is free, a new prediction costs money.
            log.warning("prediction %s: poll failed: %s", due.prediction_id, error)
            if error.retry_after_s:
                self._obey_rate_limit(error)
        except TimeoutError:
            log.warning("prediction %s: no answer within %g s", due.prediction_id, ASKED_S)
        except Exception as error:
            if is_down(error) or not due.expired:
                raise
            log.exception("prediction %s: bug", due.prediction_id)  # expired all the same
        return False

    async def _expire(self, due: DuePrediction) -> None:
        """Cancel an expired prediction and end its job, whatever the provider answers."""
        resources = self._resources
        await self._cancel(due)
        try:
            async with asyncio.timeout(ASKED_S):
                prediction = await resources.replicate.get(due.prediction_id)
            if prediction.status == "succeeded":  # just before the cancel
                await settle(resources, due, prediction)
                return
        except Exception as error:
            if is_down(error):
                raise
            log.warning("prediction %s: ended unread: %s", due.prediction_id, type(error).__name__)
        timeout_s = resources.settings.job_timeout_ms / 1000
        await settle_without_picture(resources, due, "canceled", timed_out(timeout_s))

    async def _cancel(self, due: DuePrediction) -> None:
        """Cancel within ASKED_S, best effort: Cancel-After ends the prediction all the same."""
        try:
            async with asyncio.timeout(ASKED_S):
                await cancel(self._resources.replicate, due.prediction_id)
        except TimeoutError:
            log.warning("prediction %s: not cancelled in time", due.prediction_id)

    def _report(self, due: DuePrediction, prediction: Prediction) -> None:
        if due.generation_id:
            self._reports.append((due.generation_id, *how_far(prediction)))

    async def _report_progress(self) -> None:
        reports, self._reports = self._reports, []
        if reports:
            await predictions.report_progress(self._resources.pool, reports)
