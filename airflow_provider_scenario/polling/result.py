"""What a job means for a task: the value it returns, or the error it raises. Knows neither Airflow nor HTTP."""

from __future__ import annotations

from typing import Any

from airflow_provider_scenario.api.job import Job, JobStatus, job_page
from airflow_provider_scenario.api.values import describe_units, units_or_none
from airflow_provider_scenario.exceptions import (
    ErrorDetails,
    ScenarioError,
    ScenarioJobCanceledError,
    ScenarioJobFailedError,
    ScenarioJobUnreadableError,
    ScenarioModerationError,
    ScenarioTimeoutError,
)

_ANEW = "Running the task that bought it again buys a new one."
_BLOCKED = (
    "The same inputs are likely to be blocked again, so there is no retry: change the prompt or the media, then clear "
    "the task that bought it."
)


def job_result(job: Job) -> dict[str, Any]:
    """Return what a task returns for a job, and pushes key by key as XComs; ``None`` or empty: not there yet."""
    return {
        "job_id": job.id,
        "model_id": job.model_id,
        "asset_id": job.asset_ids[0] if job.asset_ids else None,
        "asset_ids": list(job.asset_ids),
        "seed": job.seed,
        "cost": units_or_none(job.cost),  # Creative units as exact decimal text.
    }


def failure_sentences(job: Job) -> list[str]:
    """Return why a job failed or was canceled, what became of its cost and what to do; nothing for any other job."""
    if job.status is JobStatus.CANCELED:
        return [_charge(job), _ANEW]
    if job.status is not JobStatus.FAILURE:
        return []
    said = [(text or "").strip().rstrip(".") for text in (job.error, job.hint)]
    reasons = [f"{text}." for text in said if text] or ["Scenario gave no reason."]
    return [*reasons, _refund(job), _BLOCKED if job.is_moderated else _ANEW]


def job_error(job: Job) -> ScenarioError | None:
    """Return the error of a job that ended badly, ``None`` for any other job."""
    if not job.has_ended_badly:
        return None
    told = " ".join([*failure_sentences(job), job_page(job.id)])
    if job.status is JobStatus.CANCELED:
        return ScenarioJobCanceledError(f"Job {_about(job)} was canceled at Scenario. {told}", job_id=job.id)
    details = ErrorDetails(reason=job.error, hint=job.hint)
    kind = ScenarioModerationError if job.is_moderated else ScenarioJobFailedError
    return kind(f"Job {_about(job)} failed: {told}", details=details, job_id=job.id)


RETRY_REJOINS = "A retry takes its result without paying again if it is done by then"
"""What follows for a task that bought a job."""

CLEAR_LOOKS_AGAIN = "Clear this sensor to look again"
"""What follows for a task that only waits for a job."""


def timeout_error(job_id: str, job: Job | None, timeout: float, then: str) -> ScenarioTimeoutError:
    """Return the error of a job that was not finished in time; ``then`` says what the task can do about it."""
    stood = f"it is {job.status.value} at {job.progress:.0%}" if job else "it could not be read"
    charge = f" and is charged {describe_units(job.cost)}" if job and job.cost is not None else ""
    return ScenarioTimeoutError(
        f"Job {job_id} was not finished within {timeout:g} s: {stood}. It was not cancelled: it runs on{charge}. "
        f"{then}; to wait longer, raise timeout. {job_page(job_id)}",
        job_id=job_id,
    )


def unreadable_error(job_id: str, cause: ScenarioError, seconds: float) -> ScenarioJobUnreadableError:
    """Return the error of a job that Scenario would not show, neither by its own address nor in the job list."""
    return ScenarioJobUnreadableError(
        f"Job {job_id} can't be read. Scenario refused it for {seconds:.0f} s, and the job list does not show it: "
        f"{_sentence(cause)} The job was bought and is paid for. Correct the key, the project or the connection: "
        f"a retry of this task looks at the job again and pays nothing. {job_page(job_id)}",
        job_id=job_id,
    )


def no_client_error(job_id: str, cause: BaseException, seconds: float) -> ScenarioJobUnreadableError:
    """Return the error of a job that this triggerer can't ask about, since it has no client to ask with."""
    error = ScenarioJobUnreadableError(
        f"The triggerer can't read job {job_id}: for {seconds:.0f} s it had nothing to ask Scenario with: "
        f"{_sentence(cause)} The triggerer reads its own connections, variables and secrets backend: what is set "
        "for the workers only is missing there. The worker takes the wait over; the job is paid for and runs on. "
        f"{job_page(job_id)}",
        job_id=job_id,
    )
    error.take_over = True
    return error


def _about(job: Job) -> str:
    facts = [job.model_id] if job.model_id else []
    facts += [f"seed {job.seed}"] if job.seed is not None else []
    return f"{job.id} ({', '.join(facts)})" if facts else job.id


def _refund(job: Job) -> str:
    if job.cost == 0:
        return "It cost nothing."
    price = "what it charged" if job.cost is None else f"its {describe_units(job.cost)}"
    if job.refund_disabled:
        return f"Scenario keeps {price}: refunds are disabled for this job."
    return f"Scenario refunds {price}."


def _charge(job: Job) -> str:
    if job.cost == 0:
        return "It cost nothing."
    doubt = "Scenario does not say whether it refunds a canceled job."
    return doubt if job.cost is None else f"It was charged {describe_units(job.cost)}; {doubt}"


def _sentence(cause: BaseException) -> str:
    return f"{(str(cause) or type(cause).__name__).rstrip('.')}."
