"""A job's life as a list of moments: its state at any time is looked up there instead of being kept up to date."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

PENDING, QUEUED, WARMING_UP, IN_PROGRESS, FINALIZING = "pending", "queued", "warming-up", "in-progress", "finalizing"
SUCCESS, FAILURE, CANCELED = "success", "failure", "canceled"
TERMINAL = (SUCCESS, FAILURE, CANCELED)
STATUSES = (PENDING, QUEUED, WARMING_UP, IN_PROGRESS, FINALIZING, *TERMINAL)

# Shares of the job's time at which the steps before its end begin.
_STEPS = (
    (0.0, PENDING, 0.0),
    (0.02, QUEUED, 0.0),
    (0.08, WARMING_UP, 0.0),
    *((0.15 + 0.08 * tenth, IN_PROGRESS, tenth / 10) for tenth in range(10)),
    (0.95, FINALIZING, 0.95),
)

RUNNING_SHARE = 1.0 - next(share for share, status, _ in _STEPS if status == IN_PROGRESS)
"""What is left of a job's time once it is through the queue."""


@dataclass(frozen=True, slots=True)
class Moment:
    """From ``time`` on (seconds since 1970) the job has this status and this progress, 0 to 1."""

    time: float
    status: str
    progress: float


def plan(start: float, seconds: float, last: str = FINALIZING) -> list[Moment]:
    """Give the moments of a job that takes ``seconds``, up to and with the status ``last``, without its end."""
    moments = [Moment(round(start + seconds * share, 3), status, progress) for share, status, progress in _STEPS]
    while moments[-1].status != last:
        moments.pop()
    return moments


def position(moments: list[Moment], time: float) -> int:
    """Which of the moments counts at a time; the first one also counts before it."""
    return max(bisect_right(moments, time, key=lambda moment: moment.time) - 1, 0)


def history(moments: list[Moment], upto: int) -> list[Moment]:
    """Give the first moment of each status, up to and with one position."""
    passed = moments[: upto + 1]
    return [each for index, each in enumerate(passed) if index == 0 or passed[index - 1].status != each.status]
