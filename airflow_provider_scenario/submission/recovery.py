"""Which job a lost submission has become, if any. Pure.

A submission is lost if its POST may have been accepted, but no reply named the job's id. Then only Scenario's job list
shows it. The list lags, echoes inputs loosely, may lack fields, and holds other people's jobs.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.values import is_no_value
from airflow_provider_scenario.submission.echo import Match, compare_inputs
from airflow_provider_scenario.submission.record import (
    THE_MODEL,
    Baseline,
    Intent,
    NotAccepted,
    Record,
    Submitted,
    Wanted,
)
from airflow_provider_scenario.submission.seed import SeedMatch, TaskKey

LIST_LAG_SECONDS = 180.0
"""Seconds that a search may take until a job would surely be listed: Scenario's gateway gives up on a request after
30 s, and the list lags by up to two minutes."""

MAX_INTENT_AGE = 10.0
"""Seconds after which an intent is stale: a worker that was frozen meanwhile must not send its POST any more."""

CLOCK_TOLERANCE = 1800.0
"""Seconds by which the clocks of workers and of Scenario may differ, jumps of ten minutes of both included."""

_LISTED_EARLIER = datetime.timedelta(minutes=5)
"""How far before the newest job of the baseline to list: rows are not in the order in which jobs were made."""

_BEFORE_CLEAR = -1
"""Stands for the count of a try before a clear, which no list shows."""

_DAY = datetime.timedelta(days=1)
"""How much further a last look reaches back before another job is bought: a clock may be in a wrong time zone."""

_SERVERS_APART = 60.0
"""Seconds by which the clocks of Scenario's own servers may differ."""

_REFUSED_AT_ONCE = 5.0
"""Seconds by which a job may seem to be made after the refusal of the second of two equal POSTs. Each more is a chance
to take another's job, which was given the capacity that was refused to us."""


@dataclass(frozen=True)
class SearchResult:
    """What a search for a lost submission found.

    :param jobs: The jobs that are it, by their seed or by all their inputs; the first made comes first.
    :param candidates: The jobs that may be it, but show too little, or show it in other words.
    :param is_proof: Whether a seed of ours proves it, so that what was found is surely it.
    :param is_final: Whether a job of ours would surely be listed by now.
    :param unreadable: How many rows of the list could not be read.
    """

    jobs: tuple[Job, ...] = ()
    candidates: tuple[Job, ...] = ()
    is_proof: bool = False
    is_final: bool = False
    unreadable: int = 0

    @property
    def is_conclusive(self) -> bool:
        """Whether looking on would bring nothing new: without a seed of ours, the right job may be listed last."""
        return self.is_final or (self.is_proof and bool(self.jobs))


def find_submission(
    intent: Intent, jobs: Iterable[Job], *, claimed: Collection[str] = (), is_final: bool = False, unreadable: int = 0
) -> SearchResult:
    """Return which jobs a lost submission may have become: none that is claimed by another task or generation."""
    possible = sorted((job for job in jobs if job.id not in claimed), key=_made_at)
    sent = _sent(intent)
    of_model = [job for job in possible if job.model_id in (None, intent.model_id)]
    if intent.seed_is_ours:
        # Scenario may name a model otherwise, as by its successor.
        same = (job for job in possible if job.seed == intent.seed)
        found = [job for job in same if job in of_model or compare_inputs(sent, job) is Match.SAME]
        # A gateway may have sent the POST twice: then the job that has not failed is the one to go on with.
        found.sort(key=lambda job: job.has_ended_badly)
        # A row without a seed proves nothing either way. It is read singly before it counts as a doubt.
        candidates = [
            job for job in of_model if hides_seed(job) and compare_inputs(intent.inputs, job) is not Match.DIFFERENT
        ]
    else:
        found, candidates = by_inputs(sent, [job for job in of_model if _is_after(intent, job)])
        if not found:
            near = [job for job in of_model if not _is_after(intent, job) and _is_after(intent, job, _SERVERS_APART)]
            alike, unclear = by_inputs(sent, near)
            candidates += [*alike, *unclear]
    return SearchResult(tuple(found), tuple(candidates), intent.seed_is_ours, is_final, unreadable)


def by_inputs(sent: Mapping[str, Any], jobs: Iterable[Job]) -> tuple[list[Job], list[Job]]:
    """Return which jobs ran with the same inputs, and which others may have, where no seed of ours proves it."""
    alike = [job for job in jobs if compare_inputs(sent, job) is not Match.DIFFERENT]
    # A row that lacks its model may be another model's: it is read singly before it counts.
    found = [job for job in alike if compare_inputs(sent, job) is Match.SAME and not _lacks(sent, job)]
    # The same inputs come back in the same words: once one job shows these, other words are another job's.
    candidates = [job for job in alike if job not in found and (not found or _lacks(sent, job))]
    return found, candidates


def _lacks(sent: Mapping[str, Any], job: Job) -> bool:
    """Whether a row lacks what would show whether it ran with some inputs: it is read singly before it counts."""
    has_seed = not is_no_value(sent.get("seed"))
    return job.model_id is None or (has_seed and job.seed is None) or not any(name in job.inputs for name in sent)


def list_start_of_task(key: TaskKey) -> datetime.datetime | None:
    """Return from when on the job list shows all that a task instance has bought; ``None`` for all of it."""
    since = key.may_have_submitted_since
    return None if since is None else list_start_at(since)


def list_start_at(moment: float) -> datetime.datetime:
    """Return from when on the job list shows what was bought after a moment, by whatever clock it was taken."""
    return datetime.datetime.fromtimestamp(max(0.0, moment - CLOCK_TOLERANCE), datetime.UTC)


def record_from_seeds(
    key: TaskKey,
    wanted: Wanted,
    jobs: Iterable[Job],
    *,
    now: float,  # Stands for the time of a job that shows none, in seconds of the epoch.
    changed_too: bool = False,  # Whether jobs count that ran with other inputs before a clear, if no others run.
    regenerates: bool = False,  # Whether a job that finished before a clear counts as returned.
    stored: Record | None = None,  # What a frozen worker may have written over the record that is looked for.
    since_clear: bool = False,  # Whether only jobs count that were bought since the last clear, in the same run.
) -> Submitted | None:
    """Return the record that earlier tries would have left, as far as the seeds of their jobs show."""
    # Nobody knows whether a hidden job was returned, so it is not bought again.
    regenerates = regenerates and stored is None
    matched = _matched(key, wanted, jobs, stored=stored, since_clear=since_clear)
    found = _earlier(wanted, matched, changed_too=changed_too, regenerates=regenerates)
    if not found:
        return None
    job, match = found[-1]
    if not match.is_sure:
        # It may be another Airflow's: one that runs stands in the way of buying, then one that has not failed.
        running = [one for one in found if not one[0].is_finished]
        alive = [one for one in found if not one[0].has_ended_badly]
        job, match = (running or alive or found)[-1]
    changed = [name for name, value in wanted.inputs.items() if compare_inputs({name: value}, job) is Match.DIFFERENT]
    if job.model_id not in (None, wanted.model_id):
        changed.append(THE_MODEL)
    return Submitted(
        generation=match.generation,
        digests={name: digest for name, digest in wanted.digests.items() if name not in changed},
        seed=job.seed,
        seed_is_ours=True,
        max_tries=key.max_tries if match.since_clear else _BEFORE_CLEAR,
        earlier_jobs=tuple(dict.fromkeys(one.id for one, _ in found if one.id != job.id)),
        run_started_at=key.run_started_at,
        job_id=job.id,
        submitted_at=job.created_at.timestamp() if job.created_at else now,
        returned=not match.since_clear and regenerates,
        is_proven=match.is_sure,
    )


def _matched(
    key: TaskKey, wanted: Wanted, jobs: Iterable[Job], *, stored: Record | None, since_clear: bool
) -> Iterator[tuple[Job, SeedMatch]]:
    """Yield the jobs whose seeds show that they may be this task's, with what they show."""
    recorded = None
    if stored is not None and stored.run_started_at is not None:
        recorded = (stored.run_started_at, stored.max_tries)
    for job in jobs:
        match = key.match(job.seed, recorded)
        if match is None or (since_clear and not match.since_clear):
            continue
        if match.is_sure or job.model_id in (None, wanted.model_id):
            yield job, match


def _earlier(
    wanted: Wanted, matched: Iterable[tuple[Job, SeedMatch]], *, changed_too: bool, regenerates: bool
) -> list[tuple[Job, SeedMatch]]:
    """Return the jobs that earlier tries bought with what their seeds show; the last generation comes last."""
    sure, likely, changed = [], [], []
    for job, match in matched:
        # The upper part alone is no proof: another's seed may share it by chance.
        if match.is_sure:
            sure.append((job, match))
        elif compare_inputs(wanted.inputs, job) is not Match.DIFFERENT:
            likely.append((job, match))
        elif changed_too:
            changed.append((job, match))
    # Of those that only are likely, one that failed may be another Airflow's: it is no reason to buy.
    alive = [one for one in likely if not one[0].has_ended_badly]
    if any(not job.is_finished or not (job.has_ended_badly or (regenerates and not m.since_clear)) for job, m in sure):
        found = sure
    else:  # Twelve bits may agree by chance: what is over must not hide a job that may be this task's.
        found = [*sure, *alive] or likely or changed
        # Nor may one that is over hide one that still runs, nor one that failed another that did not.
        if all(job.has_ended_badly for job, _ in found):
            found = [*(one for one in changed if not one[0].has_ended_badly), *found]
        elif all(job.is_finished for job, _ in found):
            found = [*(one for one in changed if not one[0].is_finished), *found]
    # Of two jobs of one seed, as of a POST that a gateway sent twice, the one that has not failed comes last.
    return sorted(
        found, key=lambda one: (one[1].generation, one[1].since_clear, not one[0].has_ended_badly, _made_at(one[0]))
    )


def lacking_seeds(wanted: Wanted, jobs: Iterable[Job], *, changed_too: bool) -> list[Job]:
    """Return the jobs whose rows lack the seed that would show whether they are this task's."""
    return [
        job
        for job in jobs
        if hides_seed(job)
        and job.model_id in (None, wanted.model_id)
        and (changed_too or compare_inputs(wanted.inputs, job) is not Match.DIFFERENT)
    ]


def find_equal(
    wanted: Wanted, jobs: Iterable[Job], *, since: float | None, claimed: Collection[str], unreadable: int = 0
) -> SearchResult:
    """Return the jobs that look like what earlier tries bought, where there is neither a record nor a seed of ours."""
    # Before "since", in seconds of the epoch, none of them can be this task's; None: nobody knows.
    possible = [
        job
        for job in sorted(jobs, key=_made_at)
        if job.id not in claimed
        and job.model_id in (None, wanted.model_id)
        and (since is None or job.created_at is None or job.created_at.timestamp() >= since - CLOCK_TOLERANCE)
    ]
    equal, unclear = by_inputs(wanted.inputs, possible)
    # One that has ended badly counts only if there is no other: it is no reason to refuse, for a retry buys anew.
    alive = [job for job in equal if not job.has_ended_badly]
    candidates = tuple(job for job in unclear if not job.has_ended_badly)
    return SearchResult(tuple(alive or equal[-1:]), candidates, is_final=True, unreadable=unreadable)


def find_duplicate(record: NotAccepted, jobs: Iterable[Job], *, claimed: Collection[str]) -> Job | None:
    """Return the one job of a POST that a gateway sent twice, and of which Scenario refused the second."""
    refused = record.refused
    if refused is None or refused.baseline is None or refused.baseline.server_time is None:
        return None
    began = refused.baseline.server_time
    # Where no seed of ours proves it, a job counts that ran with the same inputs and was made before the refusal; a
    # minute before the POST too, since the one before it may have been sent twice, whose job was not listed yet.
    ended = began + record.refused_within + _REFUSED_AT_ONCE
    made = [
        job
        for job in jobs
        if job.id not in {*claimed, *refused.baseline.job_ids}
        and job.created_at is not None
        and began - _SERVERS_APART <= job.created_at.timestamp() <= ended
        and job.model_id == refused.model_id
    ]
    found, _ = by_inputs(_sent(refused), made)
    # Another task may have bought such a one too, so it must be the only one.
    return found[0] if len(found) == 1 and not found[0].has_ended_badly else None


def hides_seed(job: Job) -> bool:
    """Whether a row shows no seed: one of 0 or below stands for none, and is never ours."""
    return job.seed is None or job.seed <= 0


def list_start_of_submission(intent: Intent) -> datetime.datetime | None:
    """Return from when on, by Scenario's clock, the job list must show a lost submission; ``None`` for all of it."""
    if intent.baseline is None:
        return list_start_at(intent.intended_at)
    newest = _newest(intent)
    return None if newest is None else datetime.datetime.fromtimestamp(newest, datetime.UTC) - _LISTED_EARLIER


def a_day_before(start: datetime.datetime | None) -> datetime.datetime | None:
    """Return from when on to list once more for a seed of ours, before another job is bought."""
    return None if start is None else max(datetime.datetime.fromtimestamp(0.0, datetime.UTC) + _DAY, start) - _DAY


def _sent(intent: Intent) -> Mapping[str, Any]:
    return intent.inputs if intent.seed is None else {**intent.inputs, "seed": intent.seed}


def _newest(intent: Intent) -> float | None:
    """Return when the newest job of the baseline was made, by Scenario's clock. A row's time may be in the future."""
    baseline = intent.baseline or Baseline()
    if baseline.newest is None:
        return None
    now = intent.intended_at + CLOCK_TOLERANCE if baseline.server_time is None else baseline.server_time
    return max(0.0, min(baseline.newest, now))


def _is_after(intent: Intent, job: Job, tolerance: float = 0.0) -> bool:
    """Whether a job may have been made by the POST that followed the baseline, by Scenario's own clock."""
    if intent.baseline is not None and job.id in intent.baseline.job_ids:
        return False
    newest = _newest(intent)
    # No upper bound: a worker that was frozen may have written its intent over that of a retry, which bought later.
    return newest is None or job.created_at is None or job.created_at.timestamp() >= newest - tolerance


def _made_at(job: Job) -> tuple[float, str]:
    return (job.created_at.timestamp() if job.created_at else 0.0, job.id)
