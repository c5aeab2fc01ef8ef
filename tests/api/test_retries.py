"""When a call is made again, and after how long."""

from __future__ import annotations

import inspect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.api.retry import RetryConfig

RETRY_CONFIG = RetryConfig(attempts=4, first_wait=1.0, longest_wait=10.0)

ERROR_CLASSES = [
    value
    for _, value in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(value, exceptions.ScenarioError) and value is not exceptions.ScenarioConnectionError
]


def _errors() -> st.SearchStrategy[BaseException]:
    waits = st.none() | st.floats(allow_nan=False)
    ours = st.builds(lambda kind, after: kind("no", retry_after=after), st.sampled_from(ERROR_CLASSES), waits)
    broken = st.builds(lambda sent: exceptions.ScenarioConnectionError("no", sent=sent), st.booleans())
    return ours | broken | st.sampled_from([ValueError("no"), KeyboardInterrupt(), OSError("no")])


def _retry_configs() -> st.SearchStrategy[RetryConfig]:
    seconds = st.floats(min_value=0, max_value=1e6)
    return st.builds(RetryConfig, attempts=st.integers(1, 10_000), first_wait=seconds, longest_wait=seconds)


_jitters = st.floats(min_value=0, max_value=1, exclude_max=True)


@pytest.mark.parametrize(
    ("error", "attempt", "repeatable", "jitter", "expected"),
    [
        # The wait doubles with each attempt; half of it is drawn by chance.
        (exceptions.ScenarioServerError("no"), 1, True, 0.0, 0.5),
        (exceptions.ScenarioServerError("no"), 1, True, 0.5, 0.75),
        (exceptions.ScenarioServerError("no"), 2, True, 0.0, 1.0),
        (exceptions.ScenarioServerError("no"), 3, True, 0.0, 2.0),
        (exceptions.ScenarioServerError("no"), 4, True, 0.0, None),
        (exceptions.ScenarioServerError("no"), 5, True, 0.0, None),
        # What Scenario asks for counts instead, plus up to a second, up to the longest wait.
        (exceptions.ScenarioRateLimitError("no", retry_after=3.0), 1, True, 0.0, 3.0),
        (exceptions.ScenarioRateLimitError("no", retry_after=3.0), 3, True, 0.25, 3.25),
        (exceptions.ScenarioRateLimitError("no", retry_after=0.0), 1, True, 0.25, 0.25),
        (exceptions.ScenarioConcurrencyLimitError("no", retry_after=10.0), 1, True, 0.9, 10.0),
        (exceptions.ScenarioConcurrencyLimitError("no", retry_after=10.5), 1, True, 0.0, None),
        (exceptions.ScenarioConcurrencyLimitError("no", retry_after=900.0), 1, True, 0.0, None),
        (exceptions.ScenarioConcurrencyLimitError("no"), 1, True, 0.0, 0.5),
        # A connection that broke is worth another try of a call that does no harm.
        (exceptions.ScenarioConnectionError("no", sent=True), 1, True, 0.0, 0.5),
        (exceptions.ScenarioConnectionError("no", sent=False), 1, True, 0.0, 0.5),
        # A call that may buy something is never made again, however sure it is that nothing arrived.
        (exceptions.ScenarioServerError("no"), 1, False, 0.0, None),
        (exceptions.ScenarioRateLimitError("no", retry_after=1.0), 1, False, 0.0, None),
        (exceptions.ScenarioConnectionError("no", sent=True), 1, False, 0.0, None),
        (exceptions.ScenarioConnectionError("no", sent=False), 1, False, 0.0, None),
        # What can't be mended isn't tried again.
        (exceptions.ScenarioAuthenticationError("no"), 1, True, 0.0, None),
        (exceptions.ScenarioPermissionError("no"), 1, True, 0.0, None),
        (exceptions.ScenarioInsufficientCreditsError("no"), 1, True, 0.0, None),
        (exceptions.ScenarioNotFoundError("no"), 1, True, 0.0, None),
        (exceptions.ScenarioInputError("no"), 1, True, 0.0, None),
        (exceptions.ScenarioInputError("no", retry_after=1.0), 1, True, 0.0, None),
        (KeyboardInterrupt(), 1, True, 0.0, None),
        (ValueError("a bug of ours"), 1, True, 0.0, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_table(error: BaseException, attempt: int, repeatable: bool, jitter: float, expected: float | None) -> None:
    wait = RETRY_CONFIG.wait_after(error, attempt, repeatable=repeatable, jitter=lambda: jitter)
    assert wait == expected


@given(_errors(), st.integers(1, 10_000), _retry_configs(), _jitters)
def test_what_may_buy_something_is_never_repeated(
    error: BaseException, attempt: int, retry_config: RetryConfig, jitter: float
) -> None:
    wait = retry_config.wait_after(error, attempt, repeatable=False, jitter=lambda: jitter)
    assert wait is None


@given(_errors(), st.integers(1, 10_000), _retry_configs(), _jitters)
def test_a_wait_is_a_time_one_can_sleep_and_never_the_last_word_of_a_permanent_error(
    error: BaseException, attempt: int, retry_config: RetryConfig, jitter: float
) -> None:
    wait = retry_config.wait_after(error, attempt, repeatable=True, jitter=lambda: jitter)
    if wait is not None:
        assert 0 <= wait <= retry_config.longest_wait
        assert isinstance(error, exceptions.ScenarioTransientError)
        assert attempt < retry_config.attempts


@given(st.floats(min_value=0, allow_infinity=True, allow_nan=False), _retry_configs(), _jitters)
def test_scenario_is_left_alone_at_least_as_long_as_it_asked(
    retry_after: float, retry_config: RetryConfig, jitter: float
) -> None:
    error = exceptions.ScenarioRateLimitError("no", retry_after=retry_after)
    wait = retry_config.wait_after(error, 1, repeatable=True, jitter=lambda: jitter)
    if wait is not None:
        assert retry_after <= wait <= retry_after + 1
    else:
        assert retry_after > retry_config.longest_wait or retry_config.attempts == 1


@given(st.integers(1, 200), _jitters)
def test_jitter_takes_away_half_at_most(attempt: int, jitter: float) -> None:
    retry_config = RetryConfig(attempts=math.inf, first_wait=0.5, longest_wait=30)  # type: ignore[arg-type]
    error = exceptions.ScenarioServerError("no")
    wait = retry_config.wait_after(error, attempt, repeatable=True, jitter=lambda: jitter)
    whole = min(30, 0.5 * 2 ** (attempt - 1))
    assert wait is not None
    assert whole / 2 <= wait <= whole
