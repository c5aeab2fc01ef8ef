"""What Scenario's job list shows of a task's earlier tries, by their seeds, else by their inputs.

Airflow below 3.3 keeps no record, 3.4 throws it away when a task is cleared, and stores expire. Nothing is decided
here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_scenario.api.calls import Client
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.values import is_no_value, whole_number
from airflow_provider_scenario.exceptions import ScenarioError
from airflow_provider_scenario.submission.decision import (
    OnChangedInputs,
    OnClear,
    SubmissionPolicy,
    doubt_without_seed,
)
from airflow_provider_scenario.submission.job_reader import JobReader
from airflow_provider_scenario.submission.prepare import read_model
from airflow_provider_scenario.submission.record import Intent, Record, Submitted, Wanted
from airflow_provider_scenario.submission.recovery import (
    SearchResult,
    find_equal,
    hides_seed,
    lacking_seeds,
    list_start_of_task,
    record_from_seeds,
)
from airflow_provider_scenario.submission.seed import MIN_SEED_RANGE, TaskKey


@dataclass(frozen=True)
class Listing:
    """What one read of the job list shows.

    :param record: The record that earlier tries would have left, as far as seeds of ours show it.
    :param unreadable: How many rows could not be read.
    """

    record: Submitted | None
    jobs: Sequence[Job]
    unreadable: int


class EarlierTries:
    """Reads what the job list shows of earlier tries."""

    def __init__(
        self,
        client: Client,
        reader: JobReader,
        key: TaskKey,
        policy: SubmissionPolicy,
        *,
        log: Any,
        clock: Callable[[], float],  # Seconds of the epoch.
    ) -> None:
        self._client = client
        self._reader = reader
        self._key = key
        self._log = log
        self._clock = clock
        self._whole: dict[str, Job] = {}
        self._regenerates = policy.on_clear is OnClear.REGENERATE
        # Whether a job that ran with other inputs stands in the way of buying.
        self._changed_too = policy.on_changed_inputs is OnChangedInputs.FAIL

    def _is_ours(self, job: Job) -> bool:
        """Return whether a job's seed proves that it is this task's."""
        match = self._key.match(job.seed)
        return match is not None and match.is_sure

    def listings(self, wanted: Wanted, polls: Iterable[bool], *, a_day_further: bool) -> Iterator[Listing]:
        """Yield what the list shows at each poll; at the last, which is true, rows without a seed are read singly."""
        start = list_start_of_task(self._key)
        has_read_singly = False
        for is_final in polls:
            rows, unreadable = self._reader.list_jobs(start)
            jobs = self._as_known(rows)
            record = self.record(wanted, jobs)
            # A later job whose row lacks its seed must not be passed over for one that was found.
            if is_final or (record is not None and not has_read_singly):
                has_read_singly = True
                jobs = self.with_seeds(wanted, jobs)
                if is_final and a_day_further:
                    known = {job.id for job in jobs}
                    far = self._reader.list_a_day_further(start, self._is_ours)
                    jobs += [job for job in far if job.id not in known]
                record = self.record(wanted, jobs)
            yield Listing(record, jobs, unreadable)

    def record(
        self, wanted: Wanted, jobs: Sequence[Job], *, stored: Record | None = None, since_clear: bool = False
    ) -> Submitted | None:
        """Return the record that earlier tries would have left, or the one that ``stored`` was written over."""
        return record_from_seeds(
            self._key,
            wanted,
            jobs,
            now=self._clock(),
            changed_too=self._changed_too,
            regenerates=self._regenerates,
            stored=stored,
            since_clear=since_clear,
        )

    def with_seeds(self, wanted: Wanted, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs, of which those that lack their seeds are read singly."""
        jobs = self._as_known(jobs)
        whole = self._reader.read_singly(self._lacking_seeds(wanted, jobs))
        self._whole.update((job.id, job) for job in whole.values() if not hides_seed(job))
        return [whole.get(job.id, job) for job in jobs]

    def _as_known(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs with what was read singly before, so that no look passes over one of them."""
        return [_filled(job, self._whole[job.id]) if hides_seed(job) and job.id in self._whole else job for job in jobs]

    def seed_would_prove(self, wanted: Wanted, jobs: Sequence[Job]) -> bool:
        """Return whether what is bought has a seed of ours: not if the author gives one, or the model takes none."""
        if not is_no_value(wanted.inputs.get("seed")):
            return False
        try:
            model = read_model(self._client, wanted.model_id, self._log)
        except ScenarioError as error:
            self._log.warning("%s Looking for what earlier tries bought all the same.", error)
            # Then the listed jobs tell whether the model takes a seed.
            return any(job.model_id == wanted.model_id and job.seed is not None for job in jobs)
        return model.largest_seed >= MIN_SEED_RANGE

    def doubt(self, wanted: Wanted, jobs: Sequence[Job], unreadable: int) -> str | None:
        """Return why nothing may be bought although no seed shows a job of this task; ``None`` if it may."""
        return doubt_without_seed(self._lacking_seeds(wanted, jobs), unreadable)

    def by_inputs(
        self, wanted: Wanted, jobs: Sequence[Job], unreadable: int, jobs_of_others: Collection[str]
    ) -> tuple[Intent, SearchResult] | None:
        """Return an earlier try's likely intent, and the jobs with its inputs; ``None`` if none may be this task's."""
        since = self._key.may_have_submitted_since
        found = find_equal(wanted, jobs, since=since, claimed=jobs_of_others)
        whole = self._reader.read_singly(found.candidates)
        jobs = [whole.get(job.id, job) for job in jobs]
        found = find_equal(wanted, jobs, since=since, claimed=jobs_of_others, unreadable=unreadable)
        if not (found.jobs or found.candidates or found.unreadable):
            return None
        made_at = found.jobs[0].created_at if found.jobs else None
        lost = Intent(
            generation=1,
            digests=wanted.digests,
            seed=whole_number(wanted.inputs.get("seed")),
            max_tries=self._key.max_tries,
            model_id=wanted.model_id,
            inputs=wanted.inputs,
            intended_at=self._clock() if made_at is None else made_at.timestamp(),
            token="",
        )
        return lost, found

    def _lacking_seeds(self, wanted: Wanted, jobs: Sequence[Job]) -> list[Job]:
        return lacking_seeds(wanted, jobs, changed_too=self._changed_too)


def _filled(row: Job, whole: Job) -> Job:
    """Return a row with what never changes of its job; status, progress and outputs are the row's."""
    return dataclasses.replace(
        row,
        seed=whole.seed,
        inputs=whole.inputs,
        model_id=whole.model_id,
        created_at=row.created_at or whole.created_at,
    )
