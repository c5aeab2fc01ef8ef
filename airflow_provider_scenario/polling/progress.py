"""How far a job is, and how long that took and will take: as words for a log, and as the XCom ``progress``. Pure."""

from __future__ import annotations

from typing import Any

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.api.model import UsualTimes


def progress_of(job: Job, usual: UsualTimes | None) -> dict[str, Any]:
    """Return a job's progress as JSON, with no key for what is not known.

    :return: ``status``; ``percent``, 0 to 100; ``queued_seconds`` and ``running_seconds``, once it has left the queue,
        by Scenario's clock; ``usual_running_seconds`` and ``usual_seconds``, medians of such jobs without and with the
        queue.
    """
    times = {
        "queued_seconds": job.queued_seconds,
        "running_seconds": job.running_seconds,
        "usual_running_seconds": usual.running if usual else None,
        "usual_seconds": usual.total if usual else None,
    }
    known = {name: round(seconds, 1) for name, seconds in times.items() if seconds is not None}
    return {"status": job.status.value, "percent": round(job.progress * 100), **known}


def progress_words(job: Job) -> str:
    """Return how far a job is: ``in-progress, 40%, running for 1 min 36 s after 42 s in the queue``."""
    words = [job.status.value]
    if job.status is JobStatus.IN_PROGRESS:
        words.append(f"{job.progress:.0%}")
    queued, running = job.queued_seconds, job.running_seconds
    if queued is not None and running is not None:
        ran = "ran" if job.is_finished else "running"
        words.append(f"{ran} for {duration(running)} after {duration(queued)} in the queue")
    return ", ".join(words)


def usual_words(usual: UsualTimes | None) -> str:
    """Return the sentence that tells how long such jobs usually take, empty if it is not known."""
    if usual is None:
        return ""
    if usual.total is None:
        return f" Such jobs usually run for {duration(usual.running or 0.0)}."
    running = "" if usual.running is None else f", {duration(usual.running)} of it running"
    return f" Such jobs usually take {duration(usual.total)}{running}."


def duration(seconds: float) -> str:
    """Return a time in words: ``0.4 s``, ``42 s``, ``1 min 36 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
