"""What is not well, each in words with what to do: pure functions of what the overview has read.

A check without evidence is not well: it says what it has not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions._operate.render import age, count, query, spoken, usd

Row = Mapping[str, Any]

OLD_S = 60.0
"""Age of the oldest due job from which the queue is late: an idle worker begins one within milliseconds."""
MANY = 5
"""Failures of a class in an hour from which more than twice the hour before is told."""
NEARLY = 0.8
"""Part of a budget."""


@dataclass(frozen=True)
class Trouble:
    """``link``: (path below /operate, its text). ``resume``: a job type whose pause a button ends."""

    title: str
    text: str
    urgent: bool = True
    link: tuple[str, str] | None = None
    resume: str | None = None


def troubles(
    queue: Sequence[Row],
    hour: Row,
    state: Row,
    paused: Sequence[Row],
    providers: Sequence[Row],
    workers: Sequence[Row],
    unhandled: Sequence[Row],
) -> list[Trouble]:
    """The most urgent first; empty: all is well."""
    found = [
        *_pauses(paused),
        *_workers(queue, workers, state),
        *_unhandled(unhandled),
        *_providers(providers),
        *_late(queue, paused),
        *_failures(hour),
        *_clock(state),
        *_budgets(state),
    ]
    return sorted(found, key=lambda trouble: not trouble.urgent)


def several(number: int, noun: str) -> str:
    """``1 due job``, ``3 due jobs``: of "due job"."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def _jobs(**chosen: str) -> str:
    return f"/jobs{query(chosen)}"


def _pauses(paused: Sequence[Row]) -> list[Trouble]:
    return [
        Trouble(
            "Everything is paused" if row["job_type"] == "*" else f"{row['job_type']} is paused",
            f"{several(row['jobs'], 'due job')} held, and all that come, until it is resumed.",
            urgent=row["jobs"] > 0,
            resume=row["job_type"],
        )
        for row in paused
    ]


def _workers(queue: Sequence[Row], workers: Sequence[Row], state: Row) -> list[Trouble]:
    found = []
    if not any(row["is_alive"] for row in workers):
        seen = "the last one was seen " if workers else "none was seen within ten minutes"
        last = f"{spoken(age(workers[0]['last_seen_at']))} ago" if workers else ""
        waiting = sum(row["due"] or 0 for row in queue)
        found.append(
            Trouble(
                "No worker",
                f"No process runs jobs: {seen}{last}. {several(waiting, 'job')} due. Start a gateway (make up, or"
                " python -m functions), and look into the log of the one that has stopped.",
            )
        )
    silent = [row for row in workers if not row["is_alive"]]
    if silent and len(silent) < len(workers):
        names = ", ".join(str(row["host"]) for row in silent[:3])
        found.append(
            Trouble(
                "A worker is silent",
                f"{len(silent)} of {len(workers)} processes have not been heard of for 30 s ({names}): dead or stuck."
                " Others take over their jobs within 15 s; a row goes after ten minutes.",
                urgent=False,
                link=("/workers", "Workers"),
            )
        )
    if state.get("abandoned"):
        found.append(
            Trouble(
                "Jobs of dead workers",
                f"{several(state['abandoned'], 'running job')} lost to a dead worker, and not taken over:"
                " a running gateway does that within seconds.",
                link=("/jobs?status=processing", "Running jobs"),
            )
        )
    return found


def _unhandled(unhandled: Sequence[Row]) -> list[Trouble]:
    return [
        Trouble(
            f"Nobody runs {row['job_type']}",
            f"{several(row['jobs'], 'due job')}, and no running process has a handler for them: deploy one that has, or"
            " cancel them.",
            link=(_jobs(status="pending", type=row["job_type"]), "These jobs"),
        )
        for row in unhandled
    ]


def _providers(providers: Sequence[Row]) -> list[Trouble]:
    found = []
    for row in providers:
        if row["is_refusing"]:
            found.append(
                Trouble(
                    f"{row['provider']} has answered 429",
                    f"Too many requests: no prediction is created for another {spoken(age(row['not_before']))}."
                    " Jobs wait in the queue meanwhile, and lose no attempt. If it comes back often, ask the provider"
                    " for a higher limit or set a lower one of your own (set_provider_limit).",
                )
            )
        elif row["is_spacing"]:
            found.append(
                Trouble(
                    f"{row['provider']} is being spared",
                    f"After its last 429 one prediction is created each {spoken(row['spacing'].total_seconds())}, for"
                    f" another {spoken(age(row['spaced_until']))}.",
                    urgent=False,
                )
            )
    return found


def _late(queue: Sequence[Row], paused: Sequence[Row]) -> list[Trouble]:
    held = {row["job_type"] for row in paused}
    return [
        Trouble(
            f"{row['job_type']} is late",
            f"The oldest due job has waited {spoken(row['oldest_due_seconds'])}, and {count(row['due'])} are due:"
            " more come than are done. Open one to see what it waits for; more processes, or a higher"
            " WORKER_CONCURRENCY, run more side by side.",
            link=(_jobs(status="pending", type=row["job_type"]), "The line"),
        )
        for row in queue
        if (row["oldest_due_seconds"] or 0) > OLD_S and not held & {row["job_type"], "*"}
    ]


def _failures(hour: Row) -> list[Trouble]:
    now, before = hour.get("classes") or {}, hour.get("classes_before") or {}
    return [
        Trouble(
            f"More failures: {name}",
            f"{several(jobs, 'job')} failed for good in this hour, {count(before.get(name, 0))} in the hour before.",
            link=("/failures?span=1h", "What has failed"),
        )
        for name, jobs in sorted(now.items(), key=lambda one: -one[1])
        if jobs >= MANY and jobs > 2 * before.get(name, 0)
    ][:5]


def _clock(state: Row) -> list[Trouble]:
    if state.get("tick_overdue_s") is not None:
        return [
            Trouble(
                "The clock is silent",
                f"pg_cron has not called process-jobs for {spoken(state['tick_overdue_s'])}. Running gateways still"
                " take new jobs at once; a job whose wake-up is lost waits.",
                link=("/clock", "Its last runs"),
            )
        ]
    if not state.get("is_scheduled"):
        return [
            Trouble(
                "No clock",
                "Nothing is scheduled: a job whose wake-up is lost waits until the next one comes, and nothing is"
                " cleaned up. In SQL: select schedule_process_jobs('https://<this address>', '<service role key>')",
                urgent=False,
                link=("/clock", "Clock"),
            )
        ]
    return []


def _budgets(state: Row) -> list[Trouble]:
    found = []
    for period, name in (("daily", "today"), ("monthly", "month")):
        limit, spent = state.get(f"{period}_usd"), state.get(f"spent_{name}")
        if limit is None or spent is None or float(spent) < NEARLY * float(limit):
            continue
        over = spent >= limit
        found.append(
            Trouble(
                f"The {period} budget is {'spent' if over else 'nearly spent'}",
                f"{usd(spent)} of {usd(limit)}."
                + (
                    " New requests are refused (402) until it is raised: set_budget."
                    if over
                    else ""
                ),
                urgent=over,
            )
        )
    return found
