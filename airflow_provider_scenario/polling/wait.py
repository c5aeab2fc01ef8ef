"""The decisions of a wait for a job: what a read means, what to report, and when to give up.

Pure, so that the wait in the worker, the sensor and the trigger decide alike. No refusal ends a wait at once: the job
is paid for, and a gateway, a key that is being replaced or a proxy may answer for Scenario.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.model import UsualTimes
from airflow_provider_scenario.api.values import describe_units
from airflow_provider_scenario.exceptions import (
    ScenarioError,
    ScenarioJobUnreadableError,
    ScenarioTransientError,
)
from airflow_provider_scenario.polling.progress import progress_of, progress_words, usual_words
from airflow_provider_scenario.polling.result import RETRY_REJOINS, job_error, timeout_error, unreadable_error

MIN_DEFERRAL_SECONDS = 10.0
"""The shortest deferral, in seconds. Airflow's scheduler may mark a task failed whose trigger fires sooner."""

REFUSED_FOR = 60.0
"""Seconds for which Scenario must refuse to show a job, without a good reply in between, before the wait ends."""

OUTPUTS_WITHIN = 60.0
"""Seconds after which a success that comes without outputs counts as it is."""

OUTPUTS_READS = 5
"""How many more reads such a success gets at most."""

OUTPUTS_PAUSE = 2.0
"""Seconds between two such reads, once the deadline has passed."""

_LIST_MARGIN = datetime.timedelta(minutes=5)
"""How far before the job's last known change the job list is searched for it."""


def deadline_of(
    submitted_at: float,
    timeout: float,
    *,
    started_at: float | None,
    execution_timeout: datetime.timedelta | None,
) -> float:
    """Return when a task gives up its wait, in seconds of the epoch: by the time-out that comes first."""
    # Airflow applies execution_timeout to a process only, not to a deferral, so the wait itself must keep it.
    deadline = submitted_at + timeout
    if execution_timeout is None:
        return deadline
    start = submitted_at if started_at is None else started_at  # None: nobody knows when the try started.
    return min(deadline, start + execution_timeout.total_seconds())


@dataclass(frozen=True)
class WaitResult:
    """How a wait ended. Fits into a trigger event: no input, no URL, no secret.

    :param job: The job at the last good read, where there was one.
    :param error: What ended the wait, if neither the job nor the deadline did.
    :param take_over: Whether the trouble is the triggerer's own, so that the worker should go on with the wait.
    """

    job_id: str
    job: Job | None = None
    timed_out: bool = False
    error: ScenarioError | None = None
    take_over: bool = False

    @property
    def has_outputs(self) -> bool:
        """Whether the job succeeded and what it made is known: only then may it count as returned."""
        job = self.job
        if job is None or self.error is not None or self.timed_out:
            return False
        return job.is_finished and not job.has_ended_badly and not job.lacks_outputs

    def to_event(self) -> dict[str, Any]:
        """Return it as JSON."""
        error = {"type": type(self.error).__name__, "message": str(self.error)} if self.error else None
        return {
            "job_id": self.job_id,
            "job": self.job.to_dict() if self.job else None,
            "timed_out": self.timed_out,
            "error": error,
            "take_over": self.take_over,
        }

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> WaitResult:
        """Return the result that :meth:`to_event` was made from."""
        failure = event.get("error")
        error: ScenarioError | None = None
        if failure:
            # An error of a class that this version does not know is transient: the job may be paid for.
            error = getattr(exceptions, failure["type"], ScenarioTransientError)(failure["message"])
            error.job_id = event["job_id"]
        return cls(
            job_id=event["job_id"],
            job=Job.from_dict(event["job"]) if event.get("job") else None,
            timed_out=bool(event.get("timed_out")),
            error=error,
            take_over=bool(event.get("take_over")),
        )

    def job_or_raise(self, timeout: float, then: str = RETRY_REJOINS) -> Job:
        """Return the job if it succeeded, else raise what became of it; both arguments are for the message."""
        if self.error is not None:
            raise self.error
        if self.timed_out or self.job is None:
            raise timeout_error(self.job_id, self.job, timeout, then)
        error = job_error(self.job)
        if error is not None:
            raise error
        return self.job


class WaitState:
    """The state of one wait. It takes in what each read brought, and says when the wait has ended."""

    def __init__(
        self, job_id: str, deadline: float, usual: UsualTimes | None = None, *, is_foreign: bool = False
    ) -> None:
        self.job_id = job_id
        self.deadline = deadline  # In seconds of the epoch: then it gives up, after a last read.
        self.seen_at: float | None = None  # When the job itself was last read well, in seconds of the epoch.
        self._is_foreign = is_foreign  # Somebody else bought it: nothing has said yet what it runs and costs.
        self._usual = usual
        self._job: Job | None = None
        self._refused_since: float | None = None
        self._refusal: ScenarioError | None = None
        self._is_listed_only = False
        self._no_outputs_since: float | None = None
        self._no_outputs_reads = 0
        self._trouble: str | None = None
        self._tenth = -1
        self._lines: list[str] = []
        self._progress: dict[str, Any] | None = None

    @property
    def list_from(self) -> datetime.datetime | None:
        """From when on the job list must show the job, by Scenario's clock; ``None`` if nobody knows."""
        changed = None if self._job is None else self._job.updated_at or self._job.created_at
        return None if changed is None else changed - _LIST_MARGIN

    @property
    def unknown_model(self) -> str | None:
        """The model of a job that goes on, while nobody has told how long its jobs usually take."""
        if self._usual is not None or self._job is None or self._job.is_finished:
            return None
        return self._job.model_id

    @property
    def lacks_outputs(self) -> bool:
        """Whether the job has succeeded, and what it made is waited for."""
        return self._no_outputs_since is not None

    def is_in_doubt(self, now: float) -> bool:
        """Whether the last minute brought a refusal, or a success without outputs, and nothing better since."""
        is_refused = self._refused_since is not None and now - self._refused_since < REFUSED_FOR
        return is_refused or self._no_outputs_since is not None

    def asks_list(self, now: float) -> bool:
        """Whether the last read was a refusal that the job list must confirm."""
        if self._refusal is None or self._refused_since is None:
            return False
        return self._is_listed_only or now - self._refused_since >= REFUSED_FOR

    def on_job(self, job: Job, now: float) -> WaitResult | None:
        """Take in a read of the job, and return the result; ``None``: read again."""
        self._is_listed_only, self.seen_at = False, now
        return self._on_good_read(job, now)

    def on_error(self, error: ScenarioError, now: float) -> WaitResult | None:
        """Take in a failed read; ``None``: read again, until the deadline or until the list has confirmed the error."""
        if isinstance(error, ScenarioJobUnreadableError):
            return WaitResult(self.job_id, self._job, error=error, take_over=error.take_over)
        self._refusal = None
        if not isinstance(error, ScenarioTransientError):
            self._refusal = error
            self._refused_since = now if self._refused_since is None else self._refused_since
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._lines.append(f"Job {self.job_id} could not be read, which does not end the wait: {error}")
        return self._given_up(now)

    def on_usual(self, usual: UsualTimes) -> None:
        """Take in how long such jobs usually take, after the job was read."""
        self._usual = usual
        if self._job is not None:
            self._lines.append(f"Job {self.job_id}:{usual_words(usual)}")
            self._progress = progress_of(self._job, usual)

    def on_listed(self, job: Job, now: float) -> WaitResult | None:
        """Take in that the list shows the job, whose own address is refused: it is alive; ``None``: read again."""
        if not self._is_listed_only:
            self._lines.append(f"The job list shows job {self.job_id}, though its own address is refused: waiting on.")
        trouble, self._is_listed_only = self._trouble, True
        result = self._on_good_read(job, now)
        self._trouble = trouble
        return result

    def on_unlisted(self, now: float) -> WaitResult | None:
        """Take in that the job list does not show the job either, or is refused too; ``None`` to read again."""
        if self._refusal is None or self._refused_since is None or now - self._refused_since < REFUSED_FOR:
            return None
        error = unreadable_error(self.job_id, self._refusal, now - self._refused_since)
        return WaitResult(self.job_id, self._job, error=error)

    def pop_updates(self) -> tuple[list[str], dict[str, Any] | None]:
        """Return what there is to report since the last call: lines for the log, and a new progress or ``None``."""
        lines, self._lines = self._lines, []
        progress, self._progress = self._progress, None
        return lines, progress

    def _on_good_read(self, job: Job, now: float) -> WaitResult | None:
        self._refused_since = self._refusal = self._trouble = None
        self._notice(job)
        self._job = job
        if job.lacks_outputs:
            return self._without_outputs(now)
        if job.is_finished:
            return WaitResult(self.job_id, job)
        return self._given_up(now)

    def _without_outputs(self, now: float) -> WaitResult | None:
        """Give a success without outputs some more reads; they may go on for a little after the deadline."""
        if self._no_outputs_since is None:
            self._no_outputs_since = now
            self._lines.append(f"Job {self.job_id} has succeeded, but its outputs are not shown yet: reading it again.")
        elif self._no_outputs_reads < OUTPUTS_READS:
            self._no_outputs_reads += 1
        if self._no_outputs_reads < OUTPUTS_READS and now - self._no_outputs_since < OUTPUTS_WITHIN:
            return None
        self._lines.append(f"Job {self.job_id} has succeeded, and Scenario shows no outputs.")
        return WaitResult(self.job_id, self._job)

    def _given_up(self, now: float) -> WaitResult | None:
        if now < self.deadline:
            return None
        if self._no_outputs_since is not None:  # It has succeeded: all that is waited for is what it made.
            return WaitResult(self.job_id, self._job) if now - self._no_outputs_since >= OUTPUTS_WITHIN else None
        return WaitResult(self.job_id, self._job, timed_out=True)

    def _notice(self, job: Job) -> None:
        """Note a change of status, or another tenth of progress: no more than that is said."""
        tenth = int(job.progress * 10)
        changed = self._job is None or job.status != self._job.status  # Not "is not": no two unknown ones are one.
        if changed and not job.status.is_known:
            self._lines.append(f"Job {job.id} has a status this provider does not know: waiting on.")
        if changed or tenth > self._tenth:
            self._tenth = max(tenth, self._tenth)
            usual = usual_words(self._usual) if self._job is None and not job.is_finished else ""
            bought = self._bought_words(job) if self._job is None and self._is_foreign else ""
            self._lines.append(f"Job {job.id}{bought}: {progress_words(job)}.{usual}")
            self._progress = progress_of(job, self._usual)

    def _bought_words(self, job: Job) -> str:
        price = None if job.cost is None else describe_units(job.cost)
        known = ", ".join(each for each in (job.model_id, price) if each)
        return f" ({known})" if known else ""
