"""When to make a call again, and after how long.

Pure decisions. A paid POST is never made again here: Scenario has no idempotency key, so sending it
twice may buy it twice. What becomes of such a call is decided where the purchase is recorded.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.exceptions import ScenarioTransientError

if TYPE_CHECKING:
    import tenacity

_MOST_DOUBLINGS = 60
"""Far beyond any longest wait, and far below what a float can hold."""


@dataclass(frozen=True)
class Patience:
    """How long a client keeps at a call that may be repeated.

    :param attempts: How often to send it at most, 1 or more. Default 5.
    :param first_wait: Seconds before the second attempt; doubles with each further one. Default 0.5.
    :param longest_wait: Seconds between two attempts at most. Where Scenario asks for longer, the call fails at once
        with ``retry_after``, so that whoever called can wait without holding a worker. Default 30.
    """

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0


def wait_before_repeating(
    error: BaseException,
    *,
    attempt: int,
    repeatable: bool,
    patience: Patience,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Return the seconds to wait before the next attempt, or ``None`` to give up.

    :param error: What the last attempt raised.
    :param attempt: Which attempt that was, from 1.
    :param repeatable: Whether the call changes nothing at Scenario, or changes it to the same thing again.
    :param patience: The limits.
    :param jitter: Returns a number in [0, 1), so that many waiting callers don't come back at once.
    :return: What Scenario asked for plus up to a second, else the doubled first wait, half of it drawn by chance;
        never more than the longest wait.
    """
    if not repeatable or not isinstance(error, ScenarioTransientError) or attempt >= patience.attempts:
        return None
    if error.retry_after is not None:
        if error.retry_after > patience.longest_wait:
            return None
        return min(patience.longest_wait, max(0.0, error.retry_after) + jitter())
    doubled = min(patience.longest_wait, patience.first_wait * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
    return doubled * (0.5 + 0.5 * jitter())


def tenacity_arguments(repeatable: bool, patience: Patience) -> dict[str, Any]:
    """Return the arguments that make tenacity's loops, plain and async, follow :func:`wait_before_repeating`.

    :param repeatable: Whether the call may be made again.
    :param patience: The limits.
    """
    waits: dict[int, float] = {}

    def worth_repeating(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if error is None:
            return False
        attempt = state.attempt_number
        seconds = wait_before_repeating(error, attempt=attempt, repeatable=repeatable, patience=patience)
        if seconds is not None:
            waits[attempt] = seconds
        return seconds is not None

    return {"retry": worth_repeating, "wait": lambda state: waits[state.attempt_number], "reraise": True}
