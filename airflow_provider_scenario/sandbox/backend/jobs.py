"""All jobs, and lists of them that stay quick with thousands waiting.

A job does not run: it has a timeline, and its state at any instant is looked up there. One heap holds the next moment
of every job; a request for a list first takes the moments that have passed off the heap and notes the new order of
updates. So a waiting job costs nothing until somebody asks, and then as much as it has changed.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend import timeline
from airflow_provider_scenario.sandbox.backend.identifiers import new_id
from airflow_provider_scenario.sandbox.backend.prices import NOTHING, Bill
from airflow_provider_scenario.sandbox.backend.refusal import not_found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_scenario.sandbox.backend.timeline import Moment

# Dates are told in milliseconds; this much two equal ones may differ as numbers.
HALF_A_MILLISECOND = 0.0005


@dataclass(eq=False)
class Job:
    """One job. Times are seconds since 1970."""

    job_type: str
    created_at: float
    ends_at: float
    """When its time has passed; infinity: never."""
    moments: list[Moment]
    model_id: str | None = None
    received: dict[str, Any] = field(default_factory=dict)
    """The body as it was received."""
    echo: dict[str, Any] = field(default_factory=dict)
    """``metadata.input``."""
    bill: Bill = NOTHING
    disable_refund: bool = False
    charged: bool = False
    asset_ids: list[str] = field(default_factory=list)
    output: dict[str, Any] | None = None
    error: str | None = None
    hint: str | None = None
    job_id: str = field(default_factory=lambda: new_id("job"))
    number: int = 0
    """Its place in the order of creation."""
    update: int = 0
    """Its place in the order of updates; 0: not listed yet."""
    listed: int = -1
    """The position of the moment that lists show."""
    plan_number: int = 0

    def position_at(self, time: float) -> int:
        """Which of the job's moments counts at a time."""
        return timeline.position(self.moments, time)

    def status_at(self, time: float) -> str:
        """Give the status at a time."""
        return self.moments[self.position_at(time)].status

    def ended_by(self, time: float) -> bool:
        """Whether the job has ended at a time."""
        return self.status_at(time) in timeline.TERMINAL

    def is_refunded_by(self, time: float) -> bool:
        """Whether what it cost has come back: if it failed or was canceled, unless refunds are disabled for it."""
        return self.status_at(time) in (timeline.FAILURE, timeline.CANCELED) and not self.disable_refund

    @property
    def listed_moment(self) -> Moment:
        """The moment that lists show."""
        return self.moments[self.listed]


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list shows; a None lets all pass."""

    types: frozenset[str] | None = None
    status: str | None = None
    updated_after: float | None = None
    created_after: float | None = None

    @property
    def by_update(self) -> bool:
        """Whether the list is ordered by update instead of by creation."""
        return self.types is not None or self.status is not None

    def shows(self, job: Job) -> bool:
        """Whether a job, as listed, passes."""
        return (self.types is None or job.job_type in self.types) and self.status in (None, job.listed_moment.status)


class JobStore:
    """All jobs by id, and the two orders in which they are listed."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._created: list[Job] = []
        self._updates: list[tuple[int, Job]] = []
        self._upcoming: list[tuple[float, int, int, Job, int]] = []
        self._running: dict[str, Job] = {}
        self._counter = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> Job:
        """Keep a new job."""
        job.number = len(self._created) + 1
        self._jobs[job.job_id] = job
        self._created.append(job)
        if job.job_type == "custom":
            self._running[job.job_id] = job
        self._expect(job, 0)
        return job

    def get(self, job_id: str) -> Job:
        """One job; refuses with 404."""
        if job_id not in self._jobs:
            raise not_found("Job", job_id)
        return self._jobs[job_id]

    def running(self, now: float) -> int:
        """How many jobs of type ``custom`` have not ended."""
        for job in [each for each in self._running.values() if each.ended_by(now)]:
            del self._running[job.job_id]
        return len(self._running)

    def append(self, job: Job, moment: Moment) -> None:
        """Give a job one more moment, after all it has."""
        job.moments.append(moment)
        self._expect(job, len(job.moments) - 1)

    def move(self, job: Job, now: float, moment: Moment | None) -> None:
        """Drop what a job has before it, and add one moment now if given."""
        job.moments = job.moments[: job.position_at(now) + 1]
        job.listed = min(job.listed, len(job.moments) - 1)
        job.plan_number += 1
        if moment:
            job.moments.append(moment)
            self._running.setdefault(job.job_id, job)
        for position in range(job.listed + 1, len(job.moments)):
            self._expect(job, position)

    def _expect(self, job: Job, position: int) -> None:
        """Note when a moment of a job comes; the following ones are noted when it has come."""
        self._counter += 1
        entry = (job.moments[position].time, self._counter, job.plan_number, job, position)
        heapq.heappush(self._upcoming, entry)

    def advance(self, time: float) -> None:
        """Bring the lists to what they are at a time."""
        while self._upcoming and self._upcoming[0][0] <= time:
            _, _, plan_number, job, position = heapq.heappop(self._upcoming)
            if plan_number != job.plan_number or position <= job.listed:
                continue
            job.listed = position
            self._counter += 1
            job.update = self._counter
            self._updates.append((job.update, job))
            if position + 1 < len(job.moments):
                self._expect(job, position + 1)
        if len(self._updates) > 2 * len(self._jobs) + 1000:
            self._updates = [(number, job) for number, job in self._updates if job.update == number]

    def listed(self, wanted: JobFilter, before: int | None) -> Iterator[tuple[int, Job]]:
        """Jobs with their place in the list's order, the latest first, from just below the place ``before``."""
        places = self._by_update(before) if wanted.by_update else self._by_creation(before)
        for place, job in places:
            if wanted.updated_after is not None and job.listed_moment.time <= wanted.updated_after + HALF_A_MILLISECOND:
                return
            if wanted.created_after is not None and job.created_at <= wanted.created_after + HALF_A_MILLISECOND:
                return
            if wanted.shows(job):
                yield place, job

    def _by_update(self, before: int | None) -> Iterator[tuple[int, Job]]:
        updates = self._updates
        end = len(updates) if before is None else bisect_left(updates, before, key=lambda entry: entry[0])
        for index in range(end - 1, -1, -1):
            number, job = updates[index]
            if job.update == number:
                yield number, job

    def _by_creation(self, before: int | None) -> Iterator[tuple[int, Job]]:
        end = len(self._created) if before is None else before - 1
        for index in range(end - 1, -1, -1):
            job = self._created[index]
            if job.listed >= 0:
                yield job.number, job

    def everything(self) -> list[Job]:
        """All jobs in the order of their creation."""
        return list(self._created)
