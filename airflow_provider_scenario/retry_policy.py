"""Scenario's two families of errors become Airflow's retries."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.exceptions import ScenarioPermanentError, ScenarioTransientError

try:  # Airflow 3.3 brought retry policies.
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:
    RetryPolicy = object  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from airflow.sdk import Context

HAS_RETRY_POLICIES = RetryPolicy is not object
"""Whether this Airflow asks a policy before it retries (3.3 and later)."""


class ScenarioRetryPolicy(RetryPolicy):
    """Ends a task at once on a permanent error; waits as long as Scenario asked on a passing one.

    The default of this package's operators on Airflow 3.3 and later. Give an operator another ``retry_policy`` to
    decide otherwise. Errors that are not Scenario's are left to Airflow.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow's signature
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Return what to do about an error, reading just its class and its ``retry_after``."""
        if isinstance(exception, ScenarioPermanentError):
            return RetryDecision.fail("a retry can't mend this")
        if isinstance(exception, ScenarioTransientError) and exception.retry_after is not None:
            delay = datetime.timedelta(seconds=exception.retry_after)
            return RetryDecision.retry(delay=delay, reason="Scenario asked to wait this long")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return its settings: it has none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ScenarioRetryPolicy:  # noqa: ARG003
        """Return the policy."""
        return cls()


def with_retry_policy(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return an operator's arguments with the policy in them, unless they or their ``default_args`` name another.

    Below Airflow 3.3, which has no policies, they are returned as they are.
    """
    given = arguments.get("retry_policy") or (arguments.get("default_args") or {}).get("retry_policy")
    if HAS_RETRY_POLICIES and given is None:
        return {**arguments, "retry_policy": ScenarioRetryPolicy()}
    return arguments


@contextlib.contextmanager
def permanent_errors_end_the_task() -> Iterator[None]:
    """Below Airflow 3.3, turn a permanent error into the exception that Airflow does not retry."""
    try:
        yield
    except ScenarioPermanentError as error:
        if HAS_RETRY_POLICIES:
            raise
        from airflow.providers.common.compat.sdk import AirflowFailException

        raise AirflowFailException(str(error)) from error
