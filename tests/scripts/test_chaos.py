"""The chaos run, short; and the judge of its history, which has to find what it is there for."""

import secrets
import time

import psycopg
import pytest

from scripts.chaos import __main__ as chaos
from scripts.chaos import fault_injection
from scripts.chaos.fault_injection import FAULTS, System
from scripts.chaos.history import History, judge


def one_of_each(system: System, until: float) -> None:
    """Each kind of fault once, in the seed's order: a span of time would now and then leave one out."""
    for name in system.random.sample(list(FAULTS), len(FAULTS)):
        print(f"{name}: {FAULTS[name](system)}")
        time.sleep(system.random.uniform(0.05, 0.15))


def settled_soon(url: str) -> bool:
    """As ``settled_in``; the backoff of what waits for its next attempt is skipped."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update job_queue set scheduled_at = now() where status = 'pending'")
        connection.execute("update provider_limits set not_before = least(not_before, now())")
    return SETTLED_IN(url)


SETTLED_IN = chaos.settled_in


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_stored_twice_paid_twice_or_goes_backwards(
    capsys, monkeypatch, in_children
):
    in_children("functions._shared.jobs", LEASE_S=3)
    monkeypatch.setattr(fault_injection, "FREEZE_S", (4.0, 5.0))  # longer than that lease
    monkeypatch.setattr(chaos, "inject_faults", one_of_each)
    monkeypatch.setattr(chaos, "settled_in", settled_soon)
    kept = chaos.run(0, secrets.randbelow(10**6))
    printed = capsys.readouterr().out
    assert kept, printed
    assert all(f"{name}: " in printed for name in FAULTS)


def row(prompt, status="completed", images=1):
    return {
        "id": prompt,
        "prompt": prompt,
        "status": status,
        "error_message": None,
        "images": images,
    }


def told(*prompts, statuses=()):
    history = History()
    for prompt in prompts:
        history.asked(prompt)
        history.accepted(prompt, prompt)
    for status in statuses:
        history.saw(prompts[0], status)
    return history


@pytest.mark.parametrize(
    ("what", "history", "rows", "paid"),
    [
        (None, told("a"), [row("a")], {"a": ["failed", "succeeded"]}),
        (None, told("a"), [row("a", "failed", 0)], {}),
        ("lost", told("a", "b"), [row("a")], {}),
        ("lost", told("a"), [row("a", "processing", 0)], {}),
        ("stored twice", told("a"), [row("a", images=2)], {}),
        ("stored twice", told("a"), [row("a", images=0)], {}),
        ("paid twice", told("a"), [row("a")], {"a": ["succeeded", "succeeded"]}),
        (
            "failed for a death",
            told("a"),
            [{**row("a", "failed", 0), "error_message": "The worker stopped answering"}],
            {},
        ),
        (
            "statuses going backwards",
            told("a", statuses=["processing", "queued", "completed"]),
            [row("a")],
            {},
        ),
        (
            "statuses going backwards",
            told("a", statuses=["failed", "completed"]),
            [row("a")],
            {},
        ),
    ],
)
def test_the_judge_finds(what, history, rows, paid):
    verdict = judge(history, rows, paid)
    assert {name for name, cases in verdict.broken.items() if cases} == ({what} if what else set())
