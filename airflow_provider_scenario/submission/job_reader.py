"""Read what Scenario shows of bought jobs, with retries: one refusal, or an outage of a minute, proves nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import MAX_PAGES, Client, find_in_list, read_pages
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioSubmissionError, ScenarioTransientError
from airflow_provider_scenario.polling.result import unreadable_error
from airflow_provider_scenario.submission.record import Baseline, Intent, Submitted
from airflow_provider_scenario.submission.recovery import (
    LIST_LAG_SECONDS,
    SearchResult,
    a_day_before,
    find_submission,
    list_start_at,
    list_start_of_submission,
)

T = TypeVar("T")

RETRY_SECONDS = 60.0
"""Seconds for which a job, or the job list, may be refused or out before a try gives up."""

_MAX_SINGLE_READS = 20
"""Rows that lack a seed to read one by one after a search."""

_FIRST_PAUSE, _LONGEST_PAUSE, _SLOWER = 2.0, 10.0, 1.5
"""Seconds between two polls: the first pause, the longest, and how much longer each is than the one before."""


_WORKER_SECONDS = 15.0
"""Seconds for which a search that can be deferred looks before it lets its worker go. Most jobs are listed by then."""


class SearchDeferred(Exception):  # noqa: N818 - as Airflow's TaskDeferred it is no error
    """A search goes on later: no worker needs to be held meanwhile.

    :param search: Names the search: :class:`Submitter` takes it as ``searched``, to end it.
    :param seconds: After how many seconds one more look ends it.
    """

    def __init__(self, search: str, seconds: float) -> None:
        super().__init__(search, seconds)
        self.search = search
        self.seconds = seconds


class JobReader:
    """Reads jobs and the job list for one try."""

    def __init__(
        self, client: Client, log: Any, monotonic: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._client = client
        self._log = log
        self._monotonic = monotonic
        self._sleep = sleep
        self.looked_at = monotonic()
        """When :meth:`poll` last listed the jobs, or when this reader was made if it has not yet."""

    def read_bought(self, record: Submitted) -> Job:
        """Return a job that was bought. A refusal must last a minute, and the job list must confirm it."""

        def give_up(error: ScenarioError, seconds: float) -> Job:
            if not isinstance(error, ScenarioTransientError):
                return self._listed(record, error, seconds)
            raise ScenarioTransientError(
                f"Job {record.job_id} can't be read just now.\n{error} The job was bought and is paid for: a retry "
                "looks at it again and pays nothing.",
                job_id=record.job_id,
                retry_after=error.retry_after,
            ) from None

        what = f"Job {record.job_id} could not be read. That does not mean that it failed"
        return self._with_retries(lambda: self._client.send(calls.get_job(record.job_id)), what, give_up)

    def list_jobs(self, updated_after: datetime.datetime | None) -> tuple[list[Job], int]:
        """Return the jobs changed since a time by Scenario's clock (``None``: all), and how many rows can't be read."""
        return self._read_list(lambda: self._list_all(updated_after))

    def list_a_day_further(self, start: datetime.datetime | None, is_ours: Callable[[Job], bool]) -> list[Job]:
        """Return the jobs that are surely this task's, of a list that reaches back a day further."""

        # The clock that a list starts by may be in a wrong time zone.
        def read() -> list[Job]:
            # A list that does not end is read as far as it goes.
            pages = read_pages(self._client, a_day_before(start))
            return [job for page in pages for job in page.jobs if is_ours(job)]

        # Without a start all of the list was read before.
        return [] if start is None else self._read_list(read)

    def baseline(self) -> Baseline:
        """Return what the newest page of the job list shows, where no seed of ours will prove whose a job is."""
        try:
            return Baseline.of(self._client.send(calls.list_jobs()))
        except ScenarioError as error:
            raise ScenarioTransientError(
                f"Scenario's job list can't be read, so a lost reply could not be made good.\n{error} Nothing was "
                "bought by this try.",
                retry_after=error.retry_after,
            ) from None

    def read_singly(self, rows: Sequence[Job]) -> dict[str, Job]:
        """Return the jobs of rows that show too little, as their own addresses show them; of many only the first."""
        return {row.id: self._whole(row) for row in rows[:_MAX_SINGLE_READS]}

    def _whole(self, row: Job) -> Job:
        # A row whose own address can't be read for a minute stays as it is.
        what = f"Job {row.id}, whose row in the job list shows too little, could not be read"
        return self._with_retries(lambda: self._client.send(calls.get_job(row.id)), what, lambda *_: row)

    def poll(
        self, why: str, *, waits: bool, defer_as: str | None, worker_seconds: float | None = None
    ) -> Iterator[bool]:
        """Yield at each look at the job list whether a job of an earlier POST would surely be listed."""
        worker_seconds = _WORKER_SECONDS if worker_seconds is None else worker_seconds
        started, pause = self._monotonic(), _FIRST_PAUSE
        while True:
            self.looked_at = self._monotonic()
            # Without a wait there is one look, which counts as enough.
            is_final = not waits or self.looked_at - started >= LIST_LAG_SECONDS
            yield is_final
            if is_final:
                return
            wait = min(pause, max(0.1, LIST_LAG_SECONDS - (self._monotonic() - started)))
            # The search goes on later by the name defer_as; None: it may not be deferred.
            if defer_as is not None and self._monotonic() - started + wait > worker_seconds:
                raise SearchDeferred(defer_as, LIST_LAG_SECONDS - (self.looked_at - started))
            self._log.info("%s; looking again in %.0f s.", why, wait)
            self._sleep(wait)
            pause = min(_LONGEST_PAUSE, pause * _SLOWER)

    def search(
        self,
        lost: Intent,
        jobs_of_others: Callable[[], Collection[str]],
        *,
        waits: bool = True,
        may_defer: bool = False,
    ) -> SearchResult:
        """Look for a lost submission until it is surely found or would be listed; may raise ``SearchDeferred``."""
        found = SearchResult()
        why, defer_as = "It is not sure yet what became of the submission", lost.token if may_defer else None
        # Without a seed of ours only the last look counts.
        worker_seconds = None if lost.seed_is_ours else 0.0
        for is_final in self.poll(why, waits=waits, defer_as=defer_as, worker_seconds=worker_seconds):
            jobs, unreadable = self.list_jobs(list_start_of_submission(lost))
            # The other task instances may name more of their jobs meanwhile.
            claimed = {*lost.earlier_jobs, *(() if lost.seed_is_ours else jobs_of_others())}
            found = find_submission(lost, jobs, claimed=claimed, is_final=is_final, unreadable=unreadable)
            if is_final and found.candidates and not (found.jobs and found.is_proof):
                rows = {job.id: job for job in (*found.jobs, *found.candidates)}
                whole = {**rows, **self.read_singly(found.candidates)}.values()
                found = find_submission(lost, whole, claimed=claimed, is_final=True, unreadable=unreadable)
            if found.is_conclusive:
                break
        if lost.seed_is_ours and not found.jobs:
            far = self.list_a_day_further(list_start_of_submission(lost), lambda job: job.seed == lost.seed)
            known = find_submission(lost, far, claimed=lost.earlier_jobs, is_final=True)
            found = known if known.jobs else found
        return found

    def _list_all(self, updated_after: datetime.datetime | None) -> tuple[list[Job], int]:
        jobs: dict[str, Job] = {}
        unreadable = 0
        token: str | None = None
        for page in read_pages(self._client, updated_after):
            jobs.update((job.id, job) for job in page.jobs)
            unreadable += page.unreadable
            token = page.next_token
        if token is not None:
            raise ScenarioSubmissionError(
                f"Scenario's job list did not end after {MAX_PAGES} pages, so it is not known whether this "
                "task's last submission was accepted.\nNothing further was bought. Look for its job in Scenario."
            )
        return list(jobs.values()), unreadable

    def _read_list(self, read: Callable[[], T]) -> T:
        def give_up(error: ScenarioError, _: float) -> T:
            raise ScenarioTransientError(
                f"Scenario's job list can't be read, so it is not known whether this task has a job.\n{error} "
                "Nothing further was bought: a retry looks again.",
                retry_after=error.retry_after,
            ) from None

        return self._with_retries(read, "Scenario's job list could not be read", give_up)

    def _listed(self, record: Submitted, refusal: ScenarioError, seconds: float) -> Job:
        """Return a job that its own address refuses as the job list shows it."""
        try:
            job = find_in_list(self._client, record.job_id, list_start_at(record.submitted_at))
        except ScenarioError:
            job = None
        if job is None:
            raise unreadable_error(record.job_id, refusal, seconds)
        return job

    def _with_retries(self, read: Callable[[], T], what: str, give_up: Callable[[ScenarioError, float], T]) -> T:
        """Read; if that fails, again for a minute, or as long as Scenario asks to wait if that is within it."""
        since = self._monotonic()
        pause = _FIRST_PAUSE
        while True:
            try:
                return read()
            except ScenarioSubmissionError:
                raise
            except ScenarioError as error:
                seconds = self._monotonic() - since
                asked = error.retry_after or 0.0
                if seconds >= RETRY_SECONDS or asked > RETRY_SECONDS - seconds:
                    return give_up(error, seconds)
                wait = max(pause, asked)
                self._log.warning("%s; trying again in %.0f s. %s", what, wait, error)
            self._sleep(wait)
            pause = min(_LONGEST_PAUSE, pause * _SLOWER)
