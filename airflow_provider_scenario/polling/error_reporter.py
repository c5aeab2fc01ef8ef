"""What an error of a poll means for those who wait. Pure."""

from __future__ import annotations

from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConfigurationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioRateLimitError,
)
from airflow_provider_scenario.polling import wait


class ErrorReporter:
    """What goes wrong with polling, so that each kind is logged once and only a refusal that lasts ends waits."""

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
        return self._refused_since is not None and self.refused_for(now) >= wait.REFUSED_FOR


def is_worth_single_reads(error: ScenarioError) -> bool:
    """Whether single jobs may be readable although the list is not."""
    if isinstance(error, ScenarioConnectionError):
        return error.sent
    return not is_local(error) and not isinstance(error, ScenarioAuthenticationError | ScenarioRateLimitError)


def is_local(error: ScenarioError) -> bool:
    """Whether nothing was asked, since this process lacks what it takes: a connection, a usable proxy variable."""
    return isinstance(error, ScenarioConfigurationError) and error.details.status is None
