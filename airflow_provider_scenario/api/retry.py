"""Whether a failed call is sent again, and after how long. Pure.

A paid POST is never sent again here: Scenario has no idempotency key, so sending it twice may buy it twice. What
becomes of such a call is decided where the purchase is recorded.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_scenario.exceptions import ScenarioTransientError

_MOST_DOUBLINGS = 60
"""Far beyond any longest wait, and far below what a float can hold."""


@dataclass(frozen=True)
class RetryConfig:
    """How long a client keeps at a call that may be repeated.

    :param attempts: How often to send it at most, 1 or more. Default 5.
    :param first_wait: Seconds before the second attempt; doubles with each further one. Default 0.5.
    :param longest_wait: Seconds between two attempts at most. Where Scenario asks for longer, the call fails at once
        with ``retry_after``, so that the caller can wait without holding a worker. Default 30.
    """

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0

    def wait_after(
        self,
        error: BaseException,
        attempt: int,
        *,
        repeatable: bool,
        jitter: Callable[[], float] = random.random,
    ) -> float | None:
        """Return the seconds to wait after attempt 1, 2, ... before the next one, or ``None`` to give up."""
        if not repeatable or not isinstance(error, ScenarioTransientError) or attempt >= self.attempts:
            return None
        # The jitter, from 0 to below 1, keeps many waiting callers from coming back at once.
        if error.retry_after is not None:
            if error.retry_after > self.longest_wait:
                return None
            return min(self.longest_wait, max(0.0, error.retry_after) + jitter())
        doubled = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
        return doubled * (0.5 + 0.5 * jitter())
