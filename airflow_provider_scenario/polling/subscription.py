"""One wait for one job, to which the watcher delivers what it reads."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import ScenarioError

Reading = Job | ScenarioError
"""What a read of a job brings: the job, or why it could not be read."""


@dataclass(eq=False, slots=True)
class Subscription:
    """One wait for one job.

    :param job_id: The job.
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
        """Return what is new: the job if it has changed, or why it could not be read; ``None`` when the time is up.

        Of several changes in a row only the last is returned.

        :param timeout: Seconds to wait at most; 0 or less returns at once.
        """
        if self._reading is None:
            self._woken = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, timeout)):
                    await self._woken
        reading, self._reading = self._reading, None
        return reading

    def deliver(self, reading: Reading, now: float) -> bool:
        """Take in a reading. A job is passed on if its status or the tenth of its progress has changed.

        :param reading: What the read brought.
        :param now: Seconds of the epoch.
        :return: Whether it was new.
        """
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
