"""Scenario's two families of errors become Airflow's retries."""

from __future__ import annotations

import contextlib
import datetime
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.exceptions import (
    MAX_RETRY_AFTER,
    ScenarioConcurrencyLimitError,
    ScenarioConnectionError,
    ScenarioPermanentError,
    ScenarioRateLimitError,
    ScenarioServerError,
    ScenarioTransientError,
)

try:  # Airflow 3.3 brought retry policies.
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:
    RetryPolicy = object  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from airflow.sdk import Context

HAS_RETRY_POLICIES = RetryPolicy is not object
"""Whether this Airflow asks a policy before it retries (3.3 and later)."""

CAPACITY_RESCHEDULED_FOR = datetime.timedelta(days=1)
"""How long a task that finds no capacity is run again without using a retry: queues of a night are normal."""

OUTAGE_RESCHEDULED_FOR = datetime.timedelta(hours=1)
"""How long an outage of Scenario uses no retry: one that lasts longer should be seen, so it uses the task's retries."""


class ScenarioRetryPolicy(RetryPolicy):
    """Ends a task at once on a permanent error; on a transient one, waits for the longer of two delays.

    These are the author's ``retry_delay`` (with its exponential backoff) and what Scenario asked for, of which an hour
    counts at most. On Airflow 3.4 and later a lack of capacity, or an outage of Scenario, reschedules the task, which
    uses no retry: for a day and for an hour at most, from the first time on; then the task's retries count.

    The default of this package's operators on Airflow 3.3 and later. Give an operator another ``retry_policy`` to
    decide otherwise. Errors that are not Scenario's are left to Airflow.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow's signature
        context: Context | None = None,
    ) -> RetryDecision:
        """Return what to do about an error.

        :param exception: What ended the try.
        :param try_number: The try, from 1.
        :param max_tries: How many tries there are at most. Not used.
        :param context: The task's context, for its ``retry_delay``. Default: not known, so that what Scenario asked
            for counts alone.
        """
        if isinstance(exception, ScenarioPermanentError):
            return RetryDecision.fail("A retry can't help with this error.")
        if not isinstance(exception, ScenarioTransientError):
            return RetryDecision.default()
        asked = _asked_for(exception)
        own = _own_delay(None if context is None else context.get("task"), try_number)
        reschedule = getattr(RetryDecision, "reschedule", None)  # Airflow 3.4 brought it.
        rescheduled = _reschedule_of(exception)
        if reschedule is not None and rescheduled is not None:
            decision: RetryDecision = reschedule(
                delay=max((delay for delay in (asked, own) if delay is not None), default=None),
                reschedule_timeout=rescheduled[0],
                reason=f"{rescheduled[1]} The task runs again later and uses no retry.",
            )
            return decision
        if asked is None or (own is not None and own >= asked):
            return RetryDecision.default()  # Airflow waits for the author's delay.
        return RetryDecision.retry(delay=asked, reason="Scenario asked to wait this long.")

    def serialize(self) -> dict[str, Any]:
        """Return its settings: it has none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ScenarioRetryPolicy:  # noqa: ARG003
        """Return the policy."""
        return cls()


def _asked_for(error: ScenarioTransientError) -> datetime.timedelta | None:
    """Return how long Scenario asked to wait, an hour at most; ``None`` if it did not."""
    if error.retry_after is None:
        return None
    return datetime.timedelta(seconds=min(MAX_RETRY_AFTER, max(0.0, error.retry_after)))


def _own_delay(task: Any, try_number: int) -> datetime.timedelta | None:
    """Return the least that Airflow waits after this try by the author's settings; ``None`` without a task.

    Airflow adds a random part to an exponential backoff, up to the backoff itself.
    """
    delay = getattr(task, "retry_delay", None)
    if not isinstance(delay, datetime.timedelta):
        return None
    backoff = getattr(task, "retry_exponential_backoff", 0)
    factor = 2.0 if backoff is True else float(backoff or 1.0)
    longest = getattr(task, "max_retry_delay", None)
    longest = datetime.timedelta(days=1) if longest is None else longest  # Airflow's own limit.
    if isinstance(longest, int | float):
        longest = datetime.timedelta(seconds=longest)
    if factor == 1.0 or factor <= 0.0:
        return delay
    try:
        return min(longest, delay * factor ** (max(1, try_number) - 1))
    except OverflowError:
        return longest


def _reschedule_of(error: ScenarioTransientError) -> tuple[datetime.timedelta, str] | None:
    """Return for how long an error uses no retry, and why; ``None`` if each time uses one."""
    if isinstance(error, ScenarioConcurrencyLimitError):
        return CAPACITY_RESCHEDULED_FOR, "The plan runs no more jobs at Scenario now."
    if isinstance(error, ScenarioRateLimitError):
        return CAPACITY_RESCHEDULED_FOR, "Scenario asks to slow down."
    if isinstance(error, ScenarioServerError | ScenarioConnectionError):
        return OUTAGE_RESCHEDULED_FOR, "Scenario can't be reached, or has a fault, now."
    return None


def with_retry_policy(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return an operator's arguments with the policy in them, unless they or their ``default_args`` name another.

    Below Airflow 3.3, which has no policies, they are returned as they are.
    """
    given = arguments.get("retry_policy") or (arguments.get("default_args") or {}).get("retry_policy")
    if HAS_RETRY_POLICIES and given is None:
        return {**arguments, "retry_policy": ScenarioRetryPolicy()}
    return arguments


@contextlib.contextmanager
def task_errors() -> Iterator[None]:
    """Let no frame of an error keep its locals; below Airflow 3.3, make a permanent one that Airflow does not retry."""
    try:
        yield
    except BaseException as error:
        clear_locals(error)
        if HAS_RETRY_POLICIES or not isinstance(error, ScenarioPermanentError):
            raise
        raise _not_retried(error).with_traceback(error.__traceback__) from error.__cause__


def clear_locals(error: BaseException) -> None:
    """Empty the frames of an error and of all behind it: reporters such as Sentry send every local.

    Storages hold passwords there, and the HTTP library signed URLs, also where a task's time-out comes amid a request.
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _not_retried(error: ScenarioPermanentError) -> Exception:
    """Return the same error, which is an ``AirflowFailException`` too: a callback finds the class that it knows."""
    from airflow.providers.common.compat.sdk import AirflowFailException

    kind = type(error)
    both = type(kind.__name__, (kind, AirflowFailException), {"__module__": kind.__module__})
    made: Exception = both.__new__(both, *error.args)
    vars(made).update(vars(error))
    return made
