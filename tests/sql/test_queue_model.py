"""Random walks over the queue's functions against a model of a few lines: hypothesis shrinks what goes wrong."""

from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

pytestmark = pytest.mark.slow

ACTIVE = ("pending", "processing")


@dataclass
class Modelled:
    kind: str
    priority: int
    max_attempts: int
    key: str | None
    place: int
    """Where it stands among those of its priority: jobs that come back stand at the end."""
    status: str = "pending"
    attempt: int = 0
    token: int = 0
    crashes: int = 0
    alone: bool = False
    """Whether its worker, if it has one, has nothing beside it."""
    ended: int = 0
    """The last token that an end was accepted under: to repeat that one, as it was, is no offence."""
    ended_well: bool = False


class Queue(RuleBasedStateMachine):
    """Every rule does the same to the database and to the model; times are moved by hand, so nothing waits."""

    db: psycopg.Connection

    @initialize()
    def begin(self):
        self.db.execute("truncate job_queue, paused_queues")
        self.model: dict = {}
        self.paused: set[str] = set()
        self.clock = 0

    def now(self) -> int:
        self.clock += 1
        return self.clock

    def in_status(self, status) -> list:
        return [job_id for job_id, job in self.model.items() if job.status == status]

    def call(self, statement, *arguments):
        return self.db.execute(statement, arguments).fetchall()

    def refused(self, statement, *arguments):
        try:
            self.call(statement, *arguments)
        except psycopg.Error as error:
            return error.sqlstate == "PT409"
        return False

    def place(self, job_id):
        """The model's order instead of the clock's: a second in 2020 for each place."""
        job = self.model[job_id]
        job.place = self.now()
        self.call(
            "update job_queue set scheduled_at = timestamptz '2020-01-01' + %s * interval '1 ms'"
            " where id = %s returning 1",
            job.place, job_id,
        )  # fmt: skip

    @rule(
        kind=st.sampled_from("ab"), priority=st.integers(-1, 2), attempts=st.integers(1, 4),
        key=st.sampled_from([None, None, "k"]),
    )  # fmt: skip
    def enqueue(self, kind, priority, attempts, key):
        [row] = self.call(
            "select enqueue_job(%s, '{}', %s, %s, p_dedupe_key => %s) as id",
            kind,
            priority,
            attempts,
            key,
        )
        same = [
            i
            for i, j in self.model.items()
            if key and (j.kind, j.key) == (kind, key) and j.status in ACTIVE
        ]
        if same:
            assert row["id"] == same[0]
        else:
            self.model[row["id"]] = Modelled(kind, priority, attempts, key, 0)
            self.place(row["id"])

    @rule(limit=st.integers(1, 4), kinds=st.sampled_from([None, ["a"], ["b", "c"]]))
    def claim(self, limit, kinds):
        rows = self.call("select * from claim_jobs(%s, p_job_types => %s)", limit, kinds)
        can = [
            (-job.priority, job.place, job_id)
            for job_id, job in self.model.items()
            if job.status == "pending"
            and job.crashes < 2
            and (kinds is None or job.kind in kinds)
            and not {job.kind, "*"} & self.paused
        ]
        assert {row["id"] for row in rows} == {job_id for *_, job_id in sorted(can)[:limit]}
        for row in rows:
            job = self.model[row["id"]]
            job.status, job.attempt, job.token = "processing", job.attempt + 1, job.token + 1
            assert (row["attempt_number"], row["lease_token"]) == (job.attempt, job.token)

    @rule(kinds=st.sampled_from([None, ["a"], ["b", "c"]]), begin=st.booleans())
    def claim_a_suspect(self, kinds, begin):
        rows = self.call("select * from picture_edge.claim_suspect('w', '10 s', %s)", kinds)
        can = [
            (job.place, job_id)
            for job_id, job in self.model.items()
            if job.status == "pending"
            and job.crashes >= 2
            and (kinds is None or job.kind in kinds)
            and not {job.kind, "*"} & self.paused
        ]
        assert [row["id"] for row in rows] == [job_id for _, job_id in sorted(can)[:1]]
        for row in rows:
            job = self.model[row["id"]]
            job.status, job.attempt, job.token = "processing", job.attempt + 1, job.token + 1
            assert (row["attempt_number"], row["lease_token"]) == (job.attempt, job.token)
            job.alone = begin
            if begin:
                self.call("select picture_edge.begin_alone(%s, %s, '10 s')", row["id"], job.token)
                assert self.refused(
                    "select picture_edge.begin_alone(%s, %s, '10 s')", row["id"], job.token - 1
                )

    @precondition(lambda self: self.model)
    @rule(
        data=st.data(),
        stale=st.booleans(),
        how=st.sampled_from(["well", "badly", "for good", "later"]),
    )
    def end(self, data, stale, how):
        job_id = data.draw(st.sampled_from(list(self.model)))
        job = self.model[job_id]
        given = {"well": "", "badly": ", p_error => 'x'", "for good": ", p_error => 'x', p_retry => false",
                 "later": ", p_error => 'x', p_retry_after => '1 s'"}[how]  # fmt: skip
        statement = f"select complete_job(%s, p_lease_token => %s{given})"
        if stale or job.token == 0:
            assert self.refused(statement, job_id, job.token + 1)
        elif job.status == "processing":
            self.call(statement, job_id, job.token)
            self.accepted(job, how)
            job.alone = False
            if job.status == "pending":
                self.place(job_id)
            self.call(statement, job_id, job.token)  # its answer was lost
        elif (job.ended, job.ended_well) == (job.token, how == "well"):
            self.call(statement, job_id, job.token)
        else:
            assert self.refused(statement, job_id, job.token)

    @staticmethod
    def accepted(job, how):
        job.ended, job.ended_well = job.token, how == "well"
        if how == "well":
            job.status = "completed"
        elif how == "later":
            job.status, job.attempt = "pending", job.attempt - 1
        else:
            job.status = (
                "pending" if how == "badly" and job.attempt < job.max_attempts else "failed"
            )

    @precondition(lambda self: self.in_status("processing"))
    @rule(well=st.booleans())
    def end_all_and_as_many_stale_ones(self, well):
        running = [(i, j) for i, j in self.model.items() if j.status == "processing"]
        ids = [i for i, _ in running] * 2
        tokens = [j.token for _, j in running] + [j.token - 1 for _, j in running]
        errors = None if well else ["x"] * len(ids)
        rows = self.call("select complete_jobs(%s, %s, p_errors => %s) as id", ids, tokens, errors)
        assert sorted(row["id"] for row in rows) == sorted(i for i, _ in running)
        for job_id, job in running:
            self.accepted(job, "well" if well else "badly")
            job.alone = False
            if job.status == "pending":
                self.place(job_id)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), stale=st.booleans())
    def extend(self, data, stale):
        job_id = data.draw(st.sampled_from(list(self.model)))
        job = self.model[job_id]
        if stale or job.status != "processing":
            assert self.refused(
                "select picture_edge.extend_lease(%s, %s, '10 s')", job_id, job.token + stale
            )
        else:
            self.call("select picture_edge.extend_lease(%s, %s, '10 s')", job_id, job.token)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def release(self, data):
        job_id = data.draw(st.sampled_from(list(self.model)))
        job = self.model[job_id]
        if job.status == "processing":
            self.call("select picture_edge.release_job(%s, %s)", job_id, job.token)
            job.status, job.attempt, job.alone = "pending", job.attempt - 1, False
            self.place(job_id)
        elif job.status != "pending":
            assert self.refused("select picture_edge.release_job(%s, %s)", job_id, job.token)

    @precondition(lambda self: self.in_status("processing"))
    @rule(data=st.data())
    def die(self, data):
        job_id = data.draw(st.sampled_from(self.in_status("processing")))
        job = self.model[job_id]
        self.call(
            "update job_queue set lease_expires_at = now() - interval '1 s' where id = %s returning 1",
            job_id,
        )
        assert self.call("select picture_edge.requeue_expired() as n") == [{"n": 1}]
        job.crashes += 1
        job.status = "failed" if job.alone else "pending"
        job.alone = False
        if job.status == "pending":
            job.attempt -= 1
            self.place(job_id)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data):
        job_id = data.draw(st.sampled_from(list(self.model)))
        job = self.model[job_id]
        if job.status in ACTIVE:
            job.status, job.alone = "cancelled", False
        assert self.call("select cancel_job(%s) as it", job_id) == [
            {"it": job.status == "cancelled"}
        ]

    def taken(self, job):
        return job.key and any(
            other is not job
            and (other.kind, other.key) == (job.kind, job.key)
            and other.status in ACTIVE
            for other in self.model.values()
        )

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def redrive(self, data):
        job_id = data.draw(st.sampled_from(list(self.model)))
        job = self.model[job_id]
        if job.status == "completed" or (job.status in ("failed", "cancelled") and self.taken(job)):
            assert self.refused("select redrive_job(%s)", job_id)
        else:
            ended = job.status in ("failed", "cancelled")
            assert self.call("select redrive_job(%s) as it", job_id) == [{"it": ended}]
            if ended:
                job.status, job.attempt, job.crashes = "pending", 0, 0
                self.place(job_id)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def reset_by_hand(self, data):
        job_id = data.draw(st.sampled_from(list(self.model)))
        job = self.model[job_id]
        if job.status in ACTIVE or not self.taken(job):
            self.call(
                "update job_queue set status='pending', attempt_number=0, error_message=null where id = %s returning 1",
                job_id,
            )
            if job.status == "completed":
                job.ended = 0  # nothing tells of that end any more
            job.status, job.attempt = "pending", 0

    @precondition(lambda self: self.model)
    @rule(kind=st.sampled_from(["a", "a", "*"]), pause=st.sampled_from([True, False, False, False]))
    def hold(self, kind, pause):
        if pause:
            self.call("select pause_queue(%s)", kind)
            self.paused.add(kind)
        else:
            self.call("select resume_queue(%s)", kind)
            self.paused -= {kind} if kind != "*" else {"a", "*"}

    @invariant()
    def the_database_says_the_same(self):
        rows = self.call(
            "select id, status, attempt_number, lease_token, crash_count from job_queue"
        )
        assert {tuple(row.values()) for row in rows} == {
            (job_id, job.status, job.attempt, job.token, job.crashes)
            for job_id, job in self.model.items()
        }


def test_random_walks(db):
    walk(db, tuple(Phase))


def walk_unshrunk(db):
    """The same for a mutant: that it fails is enough, the shortest walk that shows it is for people."""
    walk(db, (Phase.generate,))


def walk(db, phases):
    machine = type("QueueHere", (Queue,), {"db": db})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=200, stateful_step_count=40, derandomize=True, print_blob=True, phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
