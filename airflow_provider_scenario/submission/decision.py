"""Never pay twice: the record of a purchase, and the pure decision what to do next.

A paid POST has no idempotency key, so what was bought is written down: the intent before the POST, the job's id after
it. Whoever comes next (a retry after a crash, a clear, the same try after a broken connection) reads the record, asks
Scenario what it can, and lets :func:`decide` say what to do. Nothing here knows Airflow or HTTP.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_scenario.api.job import Job

PROVING_SEEDS = 2**20
"""How many seeds a model must take at least for a drawn one to prove whose job it is."""

VANISHING_SECONDS = 60.0
"""How long after its submission a job may be unknown to ``GET /jobs/{id}`` without being gone."""


class OnLostSubmission(enum.StrEnum):
    """What to do if it stays unknown whether a submission was accepted and no job of ours is found."""

    RESUBMIT = "resubmit"
    FAIL = "fail"


class OnStale(enum.StrEnum):
    """What to do if the inputs changed since the last try's job was bought."""

    RESUBMIT = "resubmit"
    FAIL = "fail"


class OnClear(enum.StrEnum):
    """What a clear of a task that had succeeded means."""

    REGENERATE = "regenerate"
    REUSE = "reuse"


@dataclass(frozen=True)
class Rules:
    """How the DAG's author wants doubtful cases decided."""

    on_lost_submission: OnLostSubmission = OnLostSubmission.RESUBMIT
    on_stale: OnStale = OnStale.RESUBMIT
    on_clear: OnClear = OnClear.REGENERATE


@dataclass(frozen=True)
class Request:
    """What a task wants to buy.

    :param model_id: The model.
    :param inputs: The checked inputs, by the API's names, without a seed of ours. Not shown in the repr.
    :param scope: Where it is bought: base URL and project.
    :param largest_seed: The largest seed the model takes; 0 if it takes none.
    """

    model_id: str
    inputs: Mapping[str, Any] = field(repr=False)
    scope: str = ""
    largest_seed: int = 0

    @property
    def needs_our_seed(self) -> bool:
        """Whether a seed of ours shall mark the job: the model takes enough of them and the author gave none."""
        return self.largest_seed >= PROVING_SEEDS and "seed" not in self.inputs

    @property
    def digests(self) -> dict[str, str]:
        """A short digest of each thing that makes the request what it is, to tell later which of them changed."""
        # No input's name has a space: none hides the model or the connection.
        parts = {"the model": self.model_id, "the connection": self.scope, **self.inputs}
        return {name: _digest(value) for name, value in sorted(parts.items())}

    @property
    def fingerprint(self) -> str:
        """One digest of them all."""
        return _digest(self.digests)


@dataclass(frozen=True)
class Record:
    """What is remembered of a purchase, one per task instance.

    :param take: Which generation of this task instance it is, from 1.
    :param fingerprint: The request's fingerprint.
    :param input_digests: The request's digests.
    :param seed: The seed that was sent, ours or the author's; ``None`` if none was.
    :param seed_is_ours: Whether we drew it: then a job with it is surely this one.
    :param intended_at: When the POST was about to be sent, in seconds of the epoch; ``None`` if Scenario surely did
        not accept it.
    :param job_id: The job; ``None`` until it is known.
    :param max_tries: Airflow's count that a clear raises and a retry does not.
    :param landed: Whether the task has handed on the result.
    :param earlier_jobs: The jobs of earlier takes: none of them is what a lost submission of this take became.
    :param charged: What the job was charged when it was bought, in creative units as decimal text: after a refund the
        job itself no longer tells all of it. ``None`` if it is not known.
    :param sent: The inputs that were sent with another value than the request's, such as the asset made of a file.
    """

    take: int
    fingerprint: str
    input_digests: Mapping[str, str]
    seed: int | None
    seed_is_ours: bool
    intended_at: float | None
    job_id: str | None
    max_tries: int
    landed: bool = False
    earlier_jobs: list[str] = field(default_factory=list)
    charged: str | None = None
    sent: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def all_jobs(self) -> list[str]:
        """Every job this task instance is known to have bought, the last one last."""
        return [*self.earlier_jobs, *([self.job_id] if self.job_id else [])]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        """Return the record that :meth:`to_json` made; what a later version added is passed over."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**known)


@dataclass(frozen=True)
class Found:
    """What a search for a lost submission brought.

    :param jobs: The jobs that may be ours.
    :param settled: Whether a job of ours would surely have shown up by now.
    """

    jobs: tuple[Job, ...]
    settled: bool

    def is_conclusive(self, record: Record) -> bool:
        """Whether looking on would bring nothing new: without a seed's proof, ours may be listed after its double."""
        return self.settled or (record.seed_is_ours and bool(self.jobs))


@dataclass(frozen=True)
class Gone:
    """Scenario does not know the job.

    :param age: Seconds since its submission.
    """

    age: float


Answer = Job | Gone | Found | None
"""What Scenario says: of the record's job, or of a search; ``None`` if it was not asked."""


@dataclass(frozen=True)
class Submit:
    """Buy it.

    :param take: Which generation it will be.
    :param why: For the log.
    """

    take: int
    why: str


@dataclass(frozen=True)
class Search:
    """Look for a submission that may or may not have been accepted."""


@dataclass(frozen=True)
class Wait:
    """The job runs: wait for it.

    :param job_id: The job.
    """

    job_id: str


@dataclass(frozen=True)
class Land:
    """The job is done: hand on its result.

    :param job: The job.
    """

    job: Job


@dataclass(frozen=True)
class Refuse:
    """Neither buy nor wait.

    :param reason: For the task's error.
    """

    reason: str


Decision = Submit | Search | Wait | Land | Refuse


def decide(
    record: Record | None,
    request: Request,
    answer: Answer,
    *,
    max_tries: int,
    rules: Rules | None = None,
    same_try: bool = False,
) -> Decision:
    """Say what to do next. Pure.

    :param record: What is remembered; ``None`` if nothing was bought yet.
    :param request: What the task wants now.
    :param answer: What Scenario says of the record's job or, after a :class:`Search`, what was found.
    :param max_tries: Airflow's count now. If it differs from the record's, a person cleared the task.
    :param rules: The author's wishes. Default: those of :class:`Rules`.
    :param same_try: Whether the record's submission was made by this very try. Then a job of it that has failed is this
        try's own failure, and buying another is for the next one.
    :return: What to do. A :class:`Search` is to be done, and its :class:`Found` given back as ``answer``.
    """
    rules = rules or Rules()
    if record is None:
        return Submit(1, "nothing was bought yet")
    if record.job_id is None and record.intended_at is None:
        return Submit(record.take, "the last submission was not accepted")
    cleared = max_tries != record.max_tries
    if record.job_id is not None and isinstance(answer, Job) and answer.has_ended_badly:
        unchanged = not changed_inputs(record, request)
        return _after_failure(record, answer, cleared=cleared, unchanged=unchanged)
    changed = changed_inputs(record, request)
    if changed:
        return _stale(record, changed, rules)
    match answer:
        case Found() if record.job_id is None:
            return _after_search(record, answer, rules, cleared=cleared, same_try=same_try)
        case _ if record.job_id is None:
            return Search()
        case Gone():
            return _after_vanishing(record, answer, cleared=cleared)
        case Job():
            return _known(record, answer, rules, cleared=cleared)
        case _:
            return Wait(record.job_id)


def _stale(record: Record, changed: Sequence[str], rules: Rules) -> Decision:
    job = f"job {record.job_id}" if record.job_id else "a submission that may have been accepted"
    what = f"changed since take {record.take} ({job}): {', '.join(changed)}"
    if rules.on_stale is OnStale.FAIL:
        return Refuse(
            f"Inputs {what}. on_stale='fail' forbids to buy again by itself. Undo the change, or set "
            "on_stale='resubmit', and clear the task."
        )
    return Submit(record.take + 1, f"inputs {what}; the old one is not cancelled and stays charged")


def _after_search(record: Record, found: Found, rules: Rules, *, cleared: bool, same_try: bool) -> Decision:
    if not found.is_conclusive(record):
        return Search()
    if len(found.jobs) > 1:
        names = ", ".join(job.id for job in found.jobs)
        return Refuse(
            f"A submission of this task was cut off, and {len(found.jobs)} jobs at Scenario may be it: {names}. "
            "Nothing further was bought. Look at them in Scenario. If one is this task's, write its id as job_id into "
            "the task's entry in its Task State Store; if none is, delete the entry. Then clear the task."
        )
    if found.jobs and same_try and found.jobs[0].has_ended_badly:
        return Wait(found.jobs[0].id)
    if found.jobs:
        return _known(record, found.jobs[0], rules, cleared=cleared)
    if rules.on_lost_submission is OnLostSubmission.FAIL and not cleared:
        return Refuse(
            "A submission of this task was cut off and no job of it shows up at Scenario. "
            "on_lost_submission='fail' forbids to buy again by itself. Clear the task to buy it."
        )
    return Submit(record.take, "the last submission was cut off and no job of it shows up at Scenario")


def _after_vanishing(record: Record, gone: Gone, *, cleared: bool) -> Decision:
    assert record.job_id is not None  # noqa: S101 - decide() asks only then
    if gone.age < VANISHING_SECONDS:
        return Wait(record.job_id)
    if cleared:
        return Submit(record.take + 1, f"the task was cleared and Scenario no longer knows job {record.job_id}")
    return Refuse(
        f"Scenario does not know job {record.job_id}, which this task bought: it was deleted, or the connection now "
        "leads to another project. Nothing further was bought. Mend the connection, or clear the task to buy it anew."
    )


def _known(record: Record, job: Job, rules: Rules, *, cleared: bool) -> Decision:
    if not job.is_finished:
        return Wait(job.id)
    if job.has_ended_badly:
        return _after_failure(record, job, cleared=cleared, unchanged=True)
    if cleared and record.landed and rules.on_clear is OnClear.REGENERATE:
        return Submit(record.take + 1, "the task was cleared after it had succeeded (on_clear='regenerate')")
    return Land(job)


def _after_failure(record: Record, job: Job, *, cleared: bool, unchanged: bool) -> Decision:
    """Buy anew, whatever else changed; but not by itself what moderation would only stop again."""
    if job.is_moderated and unchanged and not cleared:
        return Land(job)
    return Submit(record.take + 1, f"job {job.id} ended in {job.status.value}")


def changed_inputs(record: Record, request: Request) -> list[str]:
    """Return the names of what changed between a record and a request."""
    if record.fingerprint == request.fingerprint:
        return []
    old, new = record.input_digests, request.digests
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
