"""Progress that people see while a task waits: lines in the log, and the XCom ``progress``."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.api.model import UsualTimes

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_scenario.polling.wait import WaitState


def progress_of(job: Job, usual: UsualTimes | None) -> dict[str, Any]:
    """Return a job's progress as JSON, with no key for what is not known."""
    times = {
        # By Scenario's clock, once the job has left the queue.
        "queued_seconds": job.queued_seconds,
        "running_seconds": job.running_seconds,
        # Medians of such jobs, without and with the queue.
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
    """Return the sentence that says how long such jobs usually take, empty if it is not known."""
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


PUSH_BURST = 5
"""How many pushes may follow one another at once."""

PUSHES_A_SECOND = 0.5
"""How many pushes a second there may be in the long run. Each keeps the whole triggerer busy for a twentieth of one,
and so holds up the events of all other tasks."""


class _TokenBucket:
    """How many pushes are left for an event loop."""

    def __init__(self, now: float) -> None:
        self._left = float(PUSH_BURST)
        self._at = now

    def take(self, now: float) -> bool:
        self._left = min(PUSH_BURST, self._left + (now - self._at) * PUSHES_A_SECOND)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


_buckets: WeakKeyDictionary[asyncio.AbstractEventLoop, _TokenBucket] = WeakKeyDictionary()


async def push_progress(task_instance: Any, progress: dict[str, Any]) -> None:
    """Show progress as the XCom ``progress``, which Airflow lets a trigger do since 3.3."""
    from airflow.sdk.execution_time.xcom import XCom

    if task_instance is None or not hasattr(XCom, "aset"):
        return
    loop = asyncio.get_running_loop()
    # Where many tasks wait, some of it is left out; each task's log has it all.
    if not _buckets.setdefault(loop, _TokenBucket(loop.time())).take(loop.time()):
        return
    try:
        await XCom.aset(
            key="progress",
            value=progress,
            dag_id=task_instance.dag_id,
            task_id=task_instance.task_id,
            run_id=task_instance.run_id,
            map_index=-1 if task_instance.map_index is None else task_instance.map_index,
        )
    except Exception as error:  # noqa: BLE001 - whatever Airflow's API says, the wait goes on
        logging.getLogger(__name__).debug("The progress could not be pushed: %s", type(error).__name__)


def log_updates(wait: WaitState, log: Logger) -> dict[str, Any] | None:
    """Log what is new of a wait, and return its progress if that is new too."""
    lines, progress = wait.pop_updates()
    for line in lines:
        log.info(line)
    return progress


def report_progress(wait: WaitState, task_instance: Any, log: Logger) -> None:
    """Log what is new of a wait in a task, and show its progress: that too is never worth failing for."""
    progress = log_updates(wait, log)
    if progress is None:
        return
    # Airflow refuses the XCom while an earlier try, marked as failed but not dead yet, pushes its own.
    try:
        task_instance.xcom_push(key="progress", value=progress)
    except Exception as error:  # noqa: BLE001 - whatever Airflow's API says, the wait goes on
        log.debug("The progress could not be pushed: %s", type(error).__name__)
