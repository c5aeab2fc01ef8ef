"""What goes wrong with asking Scenario, and whom it concerns. Pure."""

from __future__ import annotations

from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioRateLimitError,
    ScenarioTransientError,
)


class Outage:
    """Keeps account of what goes wrong.

    :param refused_for: Seconds for which a key that was good must be refused before that is taken seriously.
    """

    def __init__(self, refused_for: float) -> None:
        self._refused_for = refused_for
        self._kind: type[ScenarioError] | None = None
        self._refused_at: float | None = None
        self._was_ever_well = False
        self._is_new = False

    def begin(self, error: ScenarioError, now: float) -> bool:
        """Take in an error.

        :param now: Seconds of the epoch.
        :return: Whether it is of another kind than the one before, and so worth saying.
        """
        self._is_new, self._kind = self._kind is not type(error), type(error)
        if isinstance(error, ScenarioAuthenticationError) and self._refused_at is None:
            self._refused_at = now
        return self._is_new

    def end(self) -> bool:
        """Take in that all is well.

        :return: Whether it was not so before.
        """
        was_out = self._kind is not None
        self._kind = self._refused_at = None
        self._was_ever_well = True
        return was_out

    def concerns_all(self, error: ScenarioError, now: float) -> bool:
        """Whether an error that was taken in is to be told to everybody who waits.

        Of what will pass one word is enough, and a refused key may be about to be replaced.
        """
        if isinstance(error, ScenarioAuthenticationError):
            refused_for = now - (now if self._refused_at is None else self._refused_at)
            return not self._was_ever_well or refused_for >= self._refused_for
        return self._is_new or not isinstance(error, ScenarioTransientError)


def is_worth_single_reads(error: ScenarioError) -> bool:
    """Whether single jobs may be readable although the list is not."""
    if isinstance(error, ScenarioConnectionError):
        return error.sent
    return not isinstance(error, ScenarioAuthenticationError | ScenarioRateLimitError)
