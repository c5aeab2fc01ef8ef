"""What Scenario's job list has shown so far, and from when on to read it next.

Pure, with two clocks: ours, which workers and triggerers share more or less, and Scenario's, which may be minutes off
and is read from its replies. *Moments* are times by our clock, *server times* by Scenario's. Both are seconds of the
epoch.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_provider_scenario.api.job import Job, JobPage

OVERLAP = 30.0
"""Seconds by which a window reaches back into the one before: the list lags by some."""

MARGIN = 300.0
"""Seconds to look back beyond a moment that our own clock gave: clocks differ."""

MAX_JOBS = 10_000
"""Jobs to remember at most."""


@dataclass
class ListWindow:
    """One window of the list, on the way through its pages.

    :param start: The server time from which on to list.
    :param started: When it was begun, by our clock.
    :param token: The token of the next page.
    :param pages: How many pages were read.
    :param told_at: Scenario's clock at the first page, if it was given.
    :param has_failed: Whether the next page could not be read once already.
    :param job_ids: The jobs that were listed.
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
        """Whether every change since a moment by our clock was listed; the last of them may yet be, in the next window.

        Half of the margin must be left, since the moment was noted by yet another clock.
        """
        return self._known_from is not None and self._known_from <= self._server_time(moment) - MARGIN / 2.0

    def lacks(self, job: Job) -> bool:
        """Whether a job that was read singly should be in the list and is not, at least not yet.

        Jobs of other types than those that are listed never are.
        """
        changed = _changed_at(job, 0.0)
        return self._known_from is not None and self._known_from <= changed and job.id not in self._jobs

    def ended_since(self, moment: float) -> frozenset[str]:
        """Return the ids of the jobs that ended after a moment by our clock, as far as they are remembered."""
        server_time = self._server_time(moment)
        return frozenset(
            job.id for job in self._jobs.values() if job.is_finished and _changed_at(job, server_time) >= server_time
        )

    def next_window(self, now: float, moments: Sequence[float] = ()) -> ListWindow:
        """Return the next window to read.

        :param now: Our clock.
        :param moments: Moments by our clock from which on to know every change: the window reaches back to them.
        """
        starts = [self._server_time(moment) - MARGIN for moment in moments]
        if self._known_until is not None:
            starts.append(self._known_until - OVERLAP)
        return ListWindow(min(starts, default=self._server_time(now) - MARGIN), now)

    def add_page(self, window: ListWindow, page: JobPage, now: float) -> list[Job]:
        """Take in a page, and move the window on to the next one.

        :param now: Our clock when the page had come.
        :return: The page's jobs, without their inputs: thousands may be kept.
        """
        if page.server_time is not None:
            self._clock_ahead = page.server_time.timestamp() - now
            window.told_at = window.told_at or page.server_time.timestamp()
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
