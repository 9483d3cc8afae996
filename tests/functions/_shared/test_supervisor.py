"""No background loop ends unheard: an unexpected exception is logged, shown in /ready, and the loop starts again."""

import asyncio

import pytest

from functions._shared.supervisor import Supervisor, together
from tests.conftest import Edge
from tests.help import eventually, start, until_ended, until_logged


def status_of(edge: Edge) -> tuple[int, str]:
    answer = edge.client.get(f"{edge.url}/ready")
    return answer.status_code, answer.json()["status"]


@pytest.mark.parametrize(
    ("broken", "loop"),
    [
        ("functions.process_jobs.queue.claim", "claims"),
        ("functions.process_jobs.queue.requeue_expired", "leases"),
    ],
)
def test_a_loop_that_fails_starts_again(start_edge, monkeypatch, capsys, broken, loop):
    monkeypatch.setattr("functions._shared.supervisor.RESTART_S", 0.01)
    monkeypatch.setattr("functions._shared.jobs.LEASE_S", 3)
    with monkeypatch.context() as patch:
        patch.setattr(broken, _bug)
        edge = start_edge()
        generation_id = start(edge)
        said = until_logged(capsys, f"{loop}: bug; it starts again")
        assert "a bug of the test" in said
        eventually(lambda: status_of(edge) == (503, f"restarted after an error: {loop}"))
    monkeypatch.setattr("functions._shared.supervisor.STEADY_S", 0)
    assert until_ended(edge, generation_id)["status"] == "completed"
    eventually(lambda: status_of(edge) == (200, "ready"))


async def _bug(*_: object, **__: object) -> None:
    raise NotImplementedError("a bug of the test")


async def test_a_loop_that_loses_its_cancellation_ends(monkeypatch):
    """As psycopg does where the connection breaks at that moment."""
    monkeypatch.setattr("functions._shared.supervisor.CANCEL_AGAIN_S", 0.01)
    lost = []

    async def loop() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append("a cancellation")

    async with Supervisor().running("loop", loop):
        await asyncio.sleep(0)
    assert lost


async def test_each_cancellation_reaches_loops_that_run_together(monkeypatch):
    """A TaskGroup passes on the first one only: a gateway that lost it never stopped."""
    monkeypatch.setattr("functions._shared.supervisor.CANCEL_AGAIN_S", 0.01)
    lost: list[str] = []
    begun = asyncio.Semaphore(0)

    async def loses_one() -> None:
        begun.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append("a cancellation")
        await asyncio.Event().wait()

    async with Supervisor().running("loop", lambda: together(loses_one(), loses_one())):
        await begun.acquire()
        await begun.acquire()
    assert len(lost) == 2


async def test_one_of_them_that_fails_ends_the_others():
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("it")

    ended: list[str] = []
    with pytest.raises(NotImplementedError):
        await together(waits(), _bug())
    assert ended == ["it"]
