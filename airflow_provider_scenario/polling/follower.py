"""One who waits for one job, and hears of it what others found out."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import ScenarioError

Look = Job | ScenarioError
"""What a look at a job brings: the job, or why it could not be read."""


@dataclass(eq=False, slots=True)
class Follower:
    """One who waits for one job.

    :param job_id: The job.
    :param since: When the job was last known to run, in seconds of the epoch; ``None`` if nobody knows.
    :param every: Seconds between two looks that this one wants.
    :param heard_at: When it was last told anything, in seconds of the epoch.
    :param is_new: Whether the list still owes it a first word.
    :param is_uncertain: Whether only a single read can tell how its job stands.
    :param is_pressed: Whether it wants that read now, whatever it brings.
    :param refused_since: When Scenario first refused to tell of its job, since the last good read.
    :param searches: How often the list was asked to reach back for its job since then.
    """

    job_id: str
    since: float | None
    every: float
    heard_at: float
    is_new: bool = True
    is_uncertain: bool = False
    is_pressed: bool = False
    refused_since: float | None = None
    searches: int = 0
    _look: Look | None = None
    _known: Job | None = None
    _woken: asyncio.Future[None] | None = None

    async def next(self, timeout: float) -> Look | None:
        """Return what is new: the job if it has changed, or why it could not be read; ``None`` when the time is up.

        Of several changes in a row only the last is told.

        :param timeout: Seconds to wait at most; 0 or less returns at once.
        """
        if self._look is None:
            self._woken = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, timeout)):
                    await self._woken
        look, self._look = self._look, None
        return look

    def hear(self, look: Look, now: float) -> bool:
        """Take in a look. A job is passed on if its status or the tenth of its progress has changed.

        :param look: What the look brought.
        :param now: Seconds of the epoch.
        :return: Whether it was news.
        """
        known, self.heard_at, self.is_new = self._known, now, False
        if isinstance(look, Job):
            self.refused_since, self.searches = None, 0
            if known is not None and (_is_final(known) or _is_older(look, known)):
                return False
            # Each read of a success without outputs is told: who waits counts them.
            self._known, self.is_uncertain = look, look.lacks_outputs
            if known is not None and _shown(known) == _shown(look) and not look.lacks_outputs:
                return False
        else:
            self._known, self.is_uncertain = None, True
        self._look = look
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
        return True

    def doubt(self) -> None:
        """Ask for a single read: what the list tells, or does not tell, is not enough."""
        self.is_new, self.is_uncertain = False, True

    def press(self) -> None:
        """Ask for a single read now, and to be told what it brings even if nothing has changed."""
        self._known = self._look = None
        self.is_pressed = self.is_uncertain = True


def _is_older(job: Job, known: Job) -> bool:
    """Whether a job is told of as it was before, as a list does that lags."""
    return job.updated_at is not None and known.updated_at is not None and job.updated_at < known.updated_at


def _is_final(job: Job) -> bool:
    return job.is_finished and not job.lacks_outputs


def _shown(job: Job) -> tuple[str, int, bool]:
    return job.status.value, int(job.progress * 10), job.lacks_outputs
