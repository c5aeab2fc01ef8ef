"""What a task remembers of its purchase. Pure.

A paid POST has no idempotency key, so a purchase is written down: the intent before the POST, the job's id after it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api.job import JobPage, units
from airflow_provider_scenario.api.values import NO_VALUE_TEXTS
from airflow_provider_scenario.exceptions import ScenarioSubmissionError

THE_MODEL = "the model"
"""What the model is called among the digests. It has a space, so no input's name can be the same."""


@dataclass(frozen=True)
class Wanted:
    """What the author asks for, in the author's own values: the model's record has no say in it.

    :param inputs: Values by the API's names, as JSON; ``None`` counts as not given. Not shown in the repr.
    """

    model_id: str
    inputs: Mapping[str, Any] = field(repr=False)

    @property
    def digests(self) -> dict[str, str]:
        """A short digest of the model and of each input, to see later which of them changed."""
        given = {name: value for name, value in self.inputs.items() if value is not None}
        return {name: _digest(value) for name, value in sorted({THE_MODEL: self.model_id, **given}.items())}


@dataclass(frozen=True)
class Baseline:
    """The newest page of Scenario's job list right before a POST: none of its jobs is the one that was asked for.

    :param newest: When the newest of them was made, by Scenario's clock, in seconds of the epoch; ``None`` if unknown.
    :param server_time: Scenario's clock when it answered, in seconds of the epoch; ``None`` if it did not say.
    """

    job_ids: tuple[str, ...] = ()
    newest: float | None = None
    server_time: float | None = None

    @classmethod
    def of(cls, page: JobPage) -> Baseline:
        """Return the baseline that a page of the job list makes."""
        made = [job.created_at.timestamp() for job in page.jobs if job.created_at is not None]
        server_time = page.server_time.timestamp() if page.server_time else None
        return cls(tuple(job.id for job in page.jobs), max(made, default=None), server_time)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What every state of a purchase remembers.

    :param generation: Which generation of this task instance it is, from 1.
    :param seed: The seed that was sent, ours or the author's; ``None`` if none was.
    :param seed_is_ours: Whether the seed follows from the task: then a job with it is surely this one.
    :param max_tries: Airflow's count that a clear raises and a retry does not.
    :param unproven_jobs: Those of ``earlier_jobs`` that only look like this task's: another task may take them.
    :param run_started_at: When the DAG run had started, in seconds of the epoch, when this was written; ``None`` if
        that is not known. The clear of a finished run sets it anew, and a seed of before shows only with it.
    """

    generation: int
    digests: Mapping[str, str]
    seed: int | None = None
    seed_is_ours: bool = False
    max_tries: int
    earlier_jobs: tuple[str, ...] = ()
    unproven_jobs: tuple[str, ...] = ()
    run_started_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Intent(_Facts):
    """A POST was about to be sent: it may or may not have been accepted.

    :param inputs: What was about to be sent, without a seed of ours. Not shown in the repr.
    :param intended_at: When, by the worker's clock, in seconds of the epoch.
    :param token: Marks this intent as this worker's.
    :param baseline: The job list right before, where no seed of ours proves it.
    :param account: By which connection, project and address it was sent, in words; empty if that is not known.
    :param try_number: Which try was about to send it; 0 if that is not known.
    :param lost_before: How many submissions of that try came to nothing certain before it.
    """

    model_id: str
    inputs: Mapping[str, Any] = field(repr=False)
    intended_at: float
    token: str
    baseline: Baseline | None = None
    account: str = ""
    try_number: int = 0
    lost_before: int = 0


@dataclass(frozen=True, kw_only=True)
class NotAccepted(_Facts):
    """The last submission was not accepted: Scenario refused it, or no byte of it was sent.

    :param refused: What Scenario refused last; ``None`` if nothing was sent yet. A gateway may have sent it twice, and
        the first was accepted.
    :param refused_within: Seconds from its baseline to the refusal.
    """

    refused: Intent | None = None
    refused_within: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Submitted(_Facts):
    """A job was bought.

    :param submitted_at: When the POST was about to be sent, in seconds of the epoch.
    :param charged: What it was charged when it was bought, in creative units as decimal text: after a refund the job
        itself no longer shows all of it. ``None`` if it is not known.
    :param returned: Whether the task has returned its result.
    :param is_proven: Whether the job is surely this task's. One found again after a clear may be another Airflow's:
        once it has failed, what is listed is looked at again before another is bought.
    """

    job_id: str
    submitted_at: float
    charged: str | None = None
    returned: bool = False
    is_proven: bool = True


Record = NotAccepted | Intent | Submitted
"""What is remembered of a purchase, one per task instance."""

_STATES: Mapping[str, type[NotAccepted] | type[Intent] | type[Submitted]] = {
    "not_accepted": NotAccepted,
    "intent": Intent,
    "submitted": Submitted,
}


def all_jobs(record: Record) -> tuple[str, ...]:
    """Return every job that a task instance is known to have bought, the last one last."""
    return (*record.earlier_jobs, record.job_id) if isinstance(record, Submitted) else record.earlier_jobs


def facts_of(record: Record) -> dict[str, Any]:
    """Return what every state remembers, to make another state of it."""
    return {one.name: getattr(record, one.name) for one in dataclasses.fields(_Facts)}


def to_dict(record: Record) -> dict[str, Any]:
    """Return a record as JSON."""
    state = next(name for name, kind in _STATES.items() if isinstance(record, kind))
    return {"state": state, **json.loads(json.dumps(dataclasses.asdict(record), default=str))}


def is_same(one: Record | None, other: Record | None) -> bool:
    """Return whether two records are the same once they are stored as JSON."""
    return (one and to_dict(one)) == (other and to_dict(other))


def from_dict(document: object) -> Record:
    """Return the record that :func:`to_dict` made; what a later version added is passed over."""
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        trouble = type(error).__name__
    # Then nobody knows what was bought.
    raise ScenarioSubmissionError(
        f"This task's record of what it bought can't be read ({trouble}).\nNothing further was bought. Look in "
        "Scenario for the task's job, delete the entry scenario_submission in the task's Task State Store, then clear "
        "the task: a job with a seed of this task is found again."
    )


_TYPES: Mapping[str, Any] = {
    "generation": int,
    "digests": Mapping,
    "seed": int | None,
    "seed_is_ours": bool,
    "max_tries": int,
    "earlier_jobs": tuple,
    "unproven_jobs": tuple,
    "run_started_at": (int, float, type(None)),
    "model_id": str,
    "inputs": Mapping,
    "intended_at": (int, float),
    "job_id": str,
    "submitted_at": (int, float),
    "refused": (Intent, type(None)),
    "refused_within": (int, float),
    "token": str,
    "try_number": int,
    "lost_before": int,
    "charged": str | None,
    "returned": bool,
    "is_proven": bool,
}
"""What a field must be, for nothing to be bought by a record that somebody has damaged."""


def _read(document: object) -> Record:
    if not isinstance(document, Mapping):
        raise TypeError
    kind = _STATES[document["state"]]
    known = {one.name: document[one.name] for one in dataclasses.fields(kind) if one.name in document}
    for name in ("earlier_jobs", "unproven_jobs"):
        jobs = known.get(name) or ()
        if not isinstance(jobs, list | tuple) or not all(isinstance(one, str) for one in jobs):
            raise TypeError
        known[name] = tuple(jobs)
        if kind is Submitted:  # A person may have written that one of them is the job.
            known[name] = tuple(one for one in jobs if one != document["job_id"])
    if isinstance(known.get("baseline"), Mapping):
        baseline = dict(known["baseline"])
        known["baseline"] = Baseline(tuple(baseline["job_ids"]), baseline.get("newest"), baseline.get("server_time"))
    if isinstance(known.get("refused"), Mapping):
        known["refused"] = _read({**known["refused"], "state": "intent"})
    if kind is Submitted:
        # A person who settles a doubt makes it of an intent, which has another name for the time.
        known.setdefault("submitted_at", document.get("intended_at"))
        # A charge that can't be read must not keep the result back.
        known["charged"] = None if units(known.get("charged")) is None else str(known["charged"])
    for name, types in _TYPES.items():
        # A truth value is a number too, by Python's word.
        if name in known and (not isinstance(known[name], types) or isinstance(known[name], bool) != (types is bool)):
            raise TypeError
    if kind is Submitted and not known["job_id"].strip():
        raise ValueError
    return kind(**known)


def changed_inputs(record: Record, wanted: Wanted) -> list[str]:
    """Return the names of what changed between a record and what is wanted now."""
    old, new = record.digests, wanted.digests
    # "None" and nothing at all are the same: a template was corrected.
    empty = {None, *map(_digest, NO_VALUE_TEXTS)}
    return [
        name
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name) and not {old.get(name), new.get(name)} <= empty
    ]


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
