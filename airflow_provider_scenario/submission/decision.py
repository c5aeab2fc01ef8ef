"""Never pay twice: the pure decision what to do next.

The next process (a retry after a crash, a clear, the same try after a broken connection) reads the record, asks
Scenario what it can, and lets :func:`decide` say what to do. Nothing here imports Airflow or HTTP.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.submission.record import (
    Intent,
    NotAccepted,
    Record,
    Submitted,
    Wanted,
    changed_inputs,
    facts_of,
)
from airflow_provider_scenario.submission.recovery import SearchResult

_SETTLE_IN_THE_STORE = (
    'Look at them in Scenario. If one is this task\'s, write its id as job_id, and "submitted" as state, into the '
    "entry scenario_submission of the task's Task State Store; if none is, delete the entry. Then clear the task."
)
_SETTLE_WITHOUT_A_STORE = (
    "Look at them in Scenario. If one is this task's, hand it on by its id with ScenarioJobSensor. To buy another, "
    "change an input, such as the seed or a word of the prompt, and clear the task."
)


class OnLostSubmission(enum.StrEnum):
    """What to do if it stays unknown whether a submission was accepted and no job of ours is found."""

    RESUBMIT = "resubmit"
    FAIL = "fail"


class OnChangedInputs(enum.StrEnum):
    """What to do if the inputs changed since the last try's job was bought."""

    RESUBMIT = "resubmit"
    FAIL = "fail"


class OnClear(enum.StrEnum):
    """What a clear of a task that had returned its result means."""

    REGENERATE = "regenerate"
    REUSE = "reuse"


@dataclass(frozen=True)
class SubmissionPolicy:
    """How the DAG's author wants doubtful cases decided.

    :param on_clear: ``None`` stands for ``REGENERATE`` where a record says that the result was returned, and for
        ``REUSE`` where Airflow keeps no record.
    """

    on_lost_submission: OnLostSubmission = OnLostSubmission.RESUBMIT
    on_changed_inputs: OnChangedInputs = OnChangedInputs.RESUBMIT
    on_clear: OnClear | None = None


@dataclass(frozen=True)
class Submit:
    """Buy a generation."""

    generation: int
    reason: str  # For the log.


@dataclass(frozen=True)
class Rejoin:
    """Go on with a job that was bought."""

    record: Submitted
    job: Job


@dataclass(frozen=True)
class Refuse:
    """Neither buy nor go on."""

    reason: str  # For the task's error.


Decision = Submit | Rejoin | Refuse


@dataclass(frozen=True)
class Order:
    """A generation that is to be bought.

    :param generation: Which one, from 1.
    :param stored: The record that was stored when it was decided.
    :param unproven_jobs: Those of ``earlier_jobs`` that only look like this task's.
    """

    generation: int
    reason: str
    stored: Record | None
    earlier_jobs: tuple[str, ...] = ()
    unproven_jobs: tuple[str, ...] = ()


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was bought, as last read.

    :param is_new: Whether this very try bought it.
    """

    job: Job
    record: Submitted
    is_new: bool


def decide(
    record: Record | None,
    wanted: Wanted,
    seen: Job | SearchResult | None,  # A bought job as it was read, or the end of the search for an intent.
    *,
    max_tries: int,  # Airflow's count now. If it differs from the record's, a person cleared the task.
    policy: SubmissionPolicy,
    same_try: bool = False,  # Whether this very try made the record's submission.
    is_recorded: bool = True,  # Whether Airflow keeps the record, so that a person can set it right.
) -> Decision:
    """Say what to do next. Pure."""
    match record, seen:
        case None, _:
            return Submit(1, "nothing was bought yet")
        case NotAccepted(), _:
            return Submit(record.generation, "the last submission was not accepted")
        case Intent(), SearchResult(is_conclusive=True):
            doubt = _doubt(seen, is_recorded=is_recorded)
            if doubt is not None:
                return Refuse(doubt)
            return _after_search(record, wanted, seen, max_tries=max_tries, policy=policy, same_try=same_try)
        case Submitted(), Job():
            return _after_read(record, wanted, seen, max_tries=max_tries, policy=policy, same_try=same_try)
        case _:
            raise TypeError("a bought job must be read before, and a lost submission searched for to the end")


def _after_search(
    record: Intent, wanted: Wanted, found: SearchResult, *, max_tries: int, policy: SubmissionPolicy, same_try: bool
) -> Decision:
    if found.jobs:
        job = found.jobs[0]
        submitted = submitted_from(record, job)
        return _after_read(submitted, wanted, job, max_tries=max_tries, policy=policy, same_try=same_try)
    if policy.on_lost_submission is OnLostSubmission.FAIL and record.max_tries == max_tries:
        return Refuse(
            "A submission of this task was cut off and no job of it shows up at Scenario.\n"
            "on_lost_submission='fail' forbids to buy again by itself. Clear the task to buy it."
        )
    return Submit(record.generation, "the last submission was cut off and no job of it shows up at Scenario")


def _doubt(found: SearchResult, *, is_recorded: bool) -> str | None:
    """Return why it is not known which job is the task's; ``None`` if it is known."""
    if found.jobs and found.is_proof:
        return None
    # One that looks the same is taken for ours. But not one that failed while a row can't be read, which may be ours:
    # the task would buy another.
    if len(found.jobs) == 1 and not found.candidates and not (found.jobs[0].has_ended_badly and found.unreadable):
        return None
    unsure = [job.id for job in (*found.jobs, *found.candidates)]
    if unsure:
        one = "1 job at Scenario may be it" if len(unsure) == 1 else f"{len(unsure)} jobs at Scenario may be it"
        what = f"{one}: {', '.join(unsure)}."
    elif found.unreadable:
        what = f"{found.unreadable} rows of Scenario's job list can't be read: one may be it."
    else:
        return None
    how = _SETTLE_IN_THE_STORE if is_recorded else _SETTLE_WITHOUT_A_STORE
    return f"A submission of this task may be lost, and {what}\nNothing further was bought. {how}"


def doubt_without_seed(jobs: Sequence[Job], unreadable: int) -> str | None:
    """Return why jobs listed without a seed, or rows that can't be read, forbid to buy; ``None`` if they do not."""
    if not jobs and not unreadable:
        return None
    rows = "a row that can't be read" if unreadable == 1 else f"{unreadable} rows that can't be read"
    named = ", ".join(job.id for job in jobs) or rows
    return (
        f"This task may have bought a job that Scenario's job list does not show whole: {named}.\nNothing further was "
        "bought. Look at it in Scenario. Once the list shows its seed, clear the task."
    )


def _after_read(
    record: Submitted, wanted: Wanted, job: Job, *, max_tries: int, policy: SubmissionPolicy, same_try: bool
) -> Decision:
    changed = changed_inputs(record, wanted)
    cleared = max_tries != record.max_tries
    following = record.generation + 1
    if job.has_ended_badly:
        # This very try's job is its own failure: buying another is for the next try. And moderation would only stop the
        # same inputs again.
        if same_try or (job.is_moderated and not changed and not cleared):
            return Rejoin(record, job)
        return Submit(following, f"job {job.id} ended in {job.status.value}")
    if changed:
        return _changed(record, changed, following, policy)
    if job.is_finished and cleared and record.returned and policy.on_clear is not OnClear.REUSE:
        return Submit(following, "the task was cleared after it had succeeded (on_clear='regenerate')")
    return Rejoin(record, job)


def _changed(record: Submitted, changed: Sequence[str], following: int, policy: SubmissionPolicy) -> Decision:
    what = f"changed since generation {record.generation} (job {record.job_id}): {', '.join(changed)}"
    if policy.on_changed_inputs is OnChangedInputs.FAIL:
        return Refuse(
            f"Inputs {what}.\non_changed_inputs='fail' forbids to buy again by itself. Undo the change, or set "
            "on_changed_inputs='resubmit', and clear the task."
        )
    return Submit(following, f"inputs {what}; the old job is not cancelled and stays charged")


def later_of(order: Order, again: SubmittedJob | Order) -> SubmittedJob | Order:
    """Return what a second look says where a record's job may be another's; of two orders the later generation."""
    if isinstance(again, SubmittedJob):
        return again
    generation = max(order.generation, again.generation)
    earlier = tuple(dict.fromkeys((*order.earlier_jobs, *again.earlier_jobs)))
    return replace(order, generation=generation, earlier_jobs=earlier)


def submitted_from(record: Intent, job: Job) -> Submitted:
    """Return the record of an intent whose job was found."""
    return Submitted(**facts_of(record), job_id=job.id, submitted_at=record.intended_at)
