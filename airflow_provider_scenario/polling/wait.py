"""Waiting for a job, decided: what a look at it means, what to say of it, and when to give up.

Pure, so that the blocking wait, the sensor and the trigger wait alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.model import UsualTimes
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioError,
    ScenarioPermanentError,
    ScenarioPermissionError,
    ScenarioTransientError,
)
from airflow_provider_scenario.outcome import RETRY_REJOINS, error_of, timeout_error
from airflow_provider_scenario.polling.progress import progress_of, progress_words, usual_words

FIRST_LOOK = 10.0
"""Seconds from a deferral to the first look. Airflow's scheduler may mark a task failed whose trigger fires sooner."""

REFUSED_FOR = 60.0
"""Seconds that Scenario must refuse to tell of a job before it counts as gone: right after creation it may be unknown,
and a proxy's or a gateway's odd reply is no verdict on a job that is paid for."""


@dataclass(frozen=True)
class WaitResult:
    """How a wait ended. Fits into a trigger event: no input, no URL, no secret.

    :param job_id: The job waited for.
    :param job: The job at the last look, where there was one.
    :param timed_out: Whether the deadline passed.
    :param error: What ended the wait, if neither the job nor the deadline did.
    """

    job_id: str
    job: Job | None = None
    timed_out: bool = False
    error: ScenarioError | None = None

    def to_event(self) -> dict[str, Any]:
        """Return it as JSON."""
        error = {"type": type(self.error).__name__, "message": str(self.error)} if self.error else None
        return {
            "job_id": self.job_id,
            "job": self.job.facts() if self.job else None,
            "timed_out": self.timed_out,
            "error": error,
        }

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> WaitResult:
        """Return the ending that :meth:`to_event` was made from."""
        told = event.get("error")
        error: ScenarioError | None = None
        if told:
            error = getattr(exceptions, told["type"], ScenarioPermanentError)(told["message"])
            error.job_id = event["job_id"]
        return cls(
            job_id=event["job_id"],
            job=Job.from_facts(event["job"]) if event.get("job") else None,
            timed_out=bool(event.get("timed_out")),
            error=error,
        )

    def job_or_raise(self, timeout: float, then: str = RETRY_REJOINS) -> Job:
        """Return the job if it succeeded.

        :param timeout: Seconds since its submission that were allowed, for the message.
        :param then: What the task can do about a time-out, for the message.
        :raises ScenarioError: what became of it otherwise.
        """
        if self.error is not None:
            raise self.error
        if self.timed_out or self.job is None:
            raise timeout_error(self.job_id, self.job, timeout, then)
        error = error_of(self.job)
        if error is not None:
            raise error
        return self.job


class WaitState:
    """The state of one wait. Tell it what each look brought; it says when the wait has ended.

    :param job_id: The job.
    :param deadline: Seconds of the epoch at which to give up, after a last look.
    :param usual: How long such jobs usually take, to be told beside the progress; ``None`` if it is not known.
    """

    def __init__(self, job_id: str, deadline: float, usual: UsualTimes | None = None) -> None:
        self.job_id = job_id
        self.deadline = deadline
        self._usual = usual
        self._job: Job | None = None
        self._refused_since: float | None = None
        self._trouble: str | None = None
        self._tenth = -1
        self._said: list[str] = []
        self._progress: dict[str, Any] | None = None

    def on_job(self, job: Job, now: float) -> WaitResult | None:
        """Take in a look at the job.

        :return: The ending, or ``None`` to look again.
        """
        self._refused_since = self._trouble = None
        self._notice(job)
        self._job = job
        if job.is_finished:
            return WaitResult(self.job_id, job)
        return self._given_up(now)

    def on_error(self, error: ScenarioError, now: float) -> WaitResult | None:
        """Take in a look that failed. Only a refusal that will stay, or the deadline, ends the wait.

        :return: The ending, or ``None`` to look again.
        """
        if isinstance(error, ScenarioAuthenticationError | ScenarioPermissionError):
            return WaitResult(self.job_id, self._job, error=error)
        if not isinstance(error, ScenarioTransientError):
            self._refused_since = now if self._refused_since is None else self._refused_since
            if now - self._refused_since >= REFUSED_FOR:
                return WaitResult(self.job_id, self._job, error=error)
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._said.append(f"Job {self.job_id} could not be read, which does not end the wait: {error}")
        return self._given_up(now)

    def pop_updates(self) -> tuple[list[str], dict[str, Any] | None]:
        """Return what there is to say since the last call: lines for the log, and a new progress or ``None``."""
        said, self._said = self._said, []
        progress, self._progress = self._progress, None
        return said, progress

    def _given_up(self, now: float) -> WaitResult | None:
        return WaitResult(self.job_id, self._job, timed_out=True) if now >= self.deadline else None

    def _notice(self, job: Job) -> None:
        """Note a change of status, or another tenth of progress: no more than that is said."""
        tenth = int(job.progress * 10)
        changed = self._job is None or job.status != self._job.status  # Not "is not": no two unknown ones are one.
        if changed and not job.status.is_known:
            self._said.append(f"Job {job.id} has a status this provider does not know: waiting on.")
        if changed or tenth > self._tenth:
            self._tenth = max(tenth, self._tenth)
            usual = usual_words(self._usual) if self._job is None and not job.is_finished else ""
            self._said.append(f"Job {job.id}: {progress_words(job)}.{usual}")
            self._progress = progress_of(job, self._usual)
