"""What a watcher knows: who waits for which job, and what Scenario's job list has shown so far. It asks nobody.

There are two clocks: ours, which workers and triggerers share more or less, and Scenario's, which may be minutes off
and is read from its replies. *Moments* are times by our clock, *server times* by Scenario's. Both are seconds of the
epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_provider_scenario.api.job import Job, JobPage
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConfigurationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioRateLimitError,
)
from airflow_provider_scenario.polling import wait

OVERLAP = 30.0
"""Seconds by which a window reaches back into the one before: the list lags by some."""

MARGIN = 300.0
"""Seconds to look back beyond a moment that our own clock gave: clocks differ."""

MAX_JOBS = 10_000
"""Jobs to remember at most."""

Reading = Job | ScenarioError
"""What a read of a job brings: the job, or why it could not be read."""


@dataclass(eq=False, slots=True)
class Subscription:
    """One wait for one job, to which the watcher delivers what it reads.

    :param since: When the job was last known to run, in seconds of the epoch; ``None`` if nobody knows.
    :param poll_interval: Seconds between two polls that this wait wants.
    :param delivered_at: When anything was last delivered, in seconds of the epoch.
    :param is_new: Whether no list read since it began has covered its job.
    :param is_uncertain: Whether the job must be read by itself: the list is not enough.
    :param wants_read: Whether that read is wanted now, and its result even if nothing has changed.
    :param refused_since: When Scenario first refused to show its job, since the last good read.
    :param searches: How often the list was asked to reach back for its job since then.
    """

    job_id: str
    since: float | None
    poll_interval: float
    delivered_at: float
    is_new: bool = True
    is_uncertain: bool = False
    wants_read: bool = False
    refused_since: float | None = None
    searches: int = 0
    _reading: Reading | None = None
    _known: Job | None = None
    _woken: asyncio.Future[None] | None = None

    async def next_update(self, timeout: float) -> Reading | None:
        """Return what is new: the job if it has changed, or why it could not be read; ``None`` when the time is up."""
        if self._reading is None:
            self._woken = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, timeout)):
                    await self._woken
        # Of several changes in a row only the last is returned.
        reading, self._reading = self._reading, None
        return reading

    def deliver(self, reading: Reading, now: float) -> bool:
        """Take in a reading, and return whether it is news: a job is if its status or tenth of progress has changed."""
        known, self.delivered_at, self.is_new = self._known, now, False
        if isinstance(reading, Job):
            self.refused_since, self.searches = None, 0
            if known is not None and (_is_final(known) or _is_older(reading, known)):
                return False
            # Each read of a success without outputs is delivered: the wait counts them.
            self._known, self.is_uncertain = reading, reading.lacks_outputs
            if known is not None and _shown(known) == _shown(reading) and not reading.lacks_outputs:
                return False
        else:
            self._known, self.is_uncertain = None, True
        self._reading = reading
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
        return True

    def mark_uncertain(self) -> None:
        """Ask for a read of the job by itself: the list is not enough."""
        self.is_new, self.is_uncertain = False, True

    def request_read(self) -> None:
        """Ask for that read now, and for its result even if nothing has changed."""
        self._known = self._reading = None
        self.wants_read = self.is_uncertain = True


def _is_older(job: Job, known: Job) -> bool:
    """Whether a job is shown as it was before, as a list does that lags."""
    return job.updated_at is not None and known.updated_at is not None and job.updated_at < known.updated_at


def _is_final(job: Job) -> bool:
    return job.is_finished and not job.lacks_outputs


def _shown(job: Job) -> tuple[str, int, bool]:
    return job.status.value, int(job.progress * 10), job.lacks_outputs


@dataclass
class ListWindow:
    """One window of the list, on the way through its pages.

    :param start: The server time from which on to list.
    :param started: When it was begun, by our clock.
    :param token: The token of the next page.
    :param told_at: Scenario's clock at the first page, if it was given.
    :param has_failed: Whether the next page could not be read once already.
    """

    start: float
    started: float
    token: str | None = None
    pages: int = 0
    told_at: float | None = None
    has_failed: bool = False
    job_ids: list[str] = field(default_factory=list)

    @property
    def updated_after(self) -> datetime.datetime:
        """Where the window starts, for the call."""
        return datetime.datetime.fromtimestamp(max(0.0, self.start), datetime.UTC)

    @property
    def is_complete(self) -> bool:
        """Whether the last page was read."""
        return self.pages > 0 and self.token is None


class JobIndex:
    """The list as far as it is known: every job that changed since some server time, as it was listed last."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._known_from: float | None = None
        self._known_until: float | None = None
        self._clock_ahead = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was listed yet."""
        return self._known_until is None

    def get(self, job_id: str) -> Job | None:
        """Return a job as it was listed last."""
        return self._jobs.get(job_id)

    def covers(self, moment: float) -> bool:
        """Whether every change since a moment by our clock was listed; the last of them may be in the next window."""
        # Half of the margin must be left, since the moment was noted by yet another clock.
        return self._known_from is not None and self._known_from <= self._server_time(moment) - MARGIN / 2.0

    def lacks(self, job: Job) -> bool:
        """Whether a job that was read singly should be in the list and is not, at least not yet."""
        # Jobs of other types than those that are listed never are in it.
        changed = _changed_at(job, 0.0)
        return self._known_from is not None and self._known_from <= changed and job.id not in self._jobs

    def ended_since(self, moment: float) -> frozenset[str]:
        """Return the ids of the jobs that ended after a moment by our clock, as far as they are remembered."""
        server_time = self._server_time(moment)
        return frozenset(
            job.id for job in self._jobs.values() if job.is_finished and _changed_at(job, server_time) >= server_time
        )

    def next_window(self, now: float, moments: Sequence[float]) -> ListWindow:
        """Return the next window to read: it reaches back to moments from which on every change must be known."""
        starts = [self._server_time(moment) - MARGIN for moment in moments]
        if self._known_until is not None:
            starts.append(self._known_until - OVERLAP)
        return ListWindow(min(starts, default=self._server_time(now) - MARGIN), now)

    def add_page(self, window: ListWindow, page: JobPage, now: float) -> list[Job]:
        """Take in a page, move the window on to the next, and return the page's jobs without their inputs."""
        if page.server_time is not None:
            self._clock_ahead = page.server_time.timestamp() - now
            window.told_at = window.told_at or page.server_time.timestamp()
        # Without their inputs: thousands may be kept.
        jobs = [dataclasses.replace(job, inputs={}) for job in page.jobs]
        for job in jobs:
            # Taken out first, so that the jobs stand in the order in which they were listed last.
            self._jobs.pop(job.id, None)
            self._jobs[job.id] = job
            window.job_ids.append(job.id)
        window.pages, window.token, window.has_failed = window.pages + 1, page.next_token, False
        return jobs

    def close(self, window: ListWindow) -> None:
        """Note that a window is over: through all its pages, or given up after the most that are allowed."""
        told_at = self._server_time(window.started) - MARGIN if window.told_at is None else window.told_at
        self._known_until = told_at
        if not window.is_complete:
            # What was listed before may have changed on the pages that were not read.
            self._known_from = told_at
            self._jobs = {job_id: self._jobs[job_id] for job_id in window.job_ids}
        elif self._known_from is None or window.start < self._known_from:
            self._known_from = window.start
        self._forget_some()

    def _forget_some(self) -> None:
        too_many = max(0, len(self._jobs) - MAX_JOBS)
        for job_id in list(itertools.islice(self._jobs, too_many)):
            forgotten = self._jobs.pop(job_id)
            known_from, known_until = self._known_from or 0.0, self._known_until or 0.0
            self._known_from = max(known_from, _changed_at(forgotten, known_until))

    def _server_time(self, moment: float) -> float:
        return moment + self._clock_ahead


def _changed_at(job: Job, default: float) -> float:
    """Return when a job changed last, by Scenario's clock."""
    return default if job.updated_at is None else job.updated_at.timestamp()


class PollErrors:
    """What went wrong with polling, so that each kind is logged once and only a refusal that lasts ends waits."""

    def __init__(self) -> None:
        self._kind: type[ScenarioError] | None = None
        self._refused_since: float | None = None

    def begin(self, error: ScenarioError, now: float, *, is_refusal: bool) -> bool:
        """Take in an error, and return whether it is of another kind than the one before."""
        is_new, self._kind = self._kind is not type(error), type(error)
        if is_refusal and self._refused_since is None:
            self._refused_since = now
        return is_new

    def end(self) -> bool:
        """Take in that all is well, and return whether it was not so before."""
        was_out, self._kind = self._kind is not None, None
        self._refused_since = None
        return was_out

    def refused_for(self, now: float) -> float:
        """Return the seconds since the first refusal in a row."""
        return 0.0 if self._refused_since is None else now - self._refused_since

    def is_lasting(self, now: float) -> bool:
        """Whether all was refused for so long that the waits must end: no key is being replaced."""
        return self.refused_for(now) >= wait.REFUSED_FOR


def is_worth_single_reads(error: ScenarioError) -> bool:
    """Whether single jobs may be readable although the list is not."""
    if isinstance(error, ScenarioConnectionError):
        return error.sent
    return not asked_nothing(error) and not isinstance(error, ScenarioAuthenticationError | ScenarioRateLimitError)


def asked_nothing(error: ScenarioError) -> bool:
    """Whether nothing was asked, since this process lacks what it takes: a connection, a usable proxy variable."""
    return isinstance(error, ScenarioConfigurationError) and error.details.status is None
