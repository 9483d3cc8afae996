"""The chaos run, short; and the judge of its history, which has to find what it is there for."""

import secrets

import pytest

from scripts.chaos.__main__ import run
from scripts.chaos.history import History, judge

SECONDS = 60


@pytest.mark.timeout(300)
def test_nothing_is_lost_stored_twice_paid_twice_or_goes_backwards(capsys):
    seed = secrets.randbelow(10**6)
    kept = run(SECONDS, seed)
    assert kept, capsys.readouterr().out


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
