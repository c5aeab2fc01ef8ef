"""Scenario's two families of errors, as Airflow's retries see them."""

from __future__ import annotations

import datetime
import enum
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, RetryAction, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_scenario import exceptions, retry_policy
from airflow_provider_scenario.exceptions import (
    ScenarioConnectionError,
    ScenarioError,
    ScenarioPermanentError,
    ScenarioTransientError,
)
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.retry_policy import ScenarioRetryPolicy, task_errors, with_retry_policy
from tests.this_airflow import can_reschedule

ERRORS = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, ScenarioError) and value is not ScenarioError
]

USES_NO_RETRY = {
    exceptions.ScenarioRateLimitError: datetime.timedelta(days=1),
    exceptions.ScenarioConcurrencyLimitError: datetime.timedelta(days=1),
    exceptions.ScenarioServerError: datetime.timedelta(hours=1),
    exceptions.ScenarioConnectionError: datetime.timedelta(hours=1),
}
"""The errors after which Airflow 3.4 runs a task again without using a retry, and for how long."""


class UsersPolicy(RetryPolicy):
    def evaluate(self, *arguments: Any, **more: Any) -> RetryDecision:
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        return {}


def decide(error: BaseException) -> RetryDecision:
    return ScenarioRetryPolicy().evaluate(error, 1, 3, None)


@pytest.mark.parametrize("kind", ERRORS)
def test_permanent_errors_fail_and_passing_ones_are_left_to_the_tasks_own_retries(kind: type[ScenarioError]) -> None:
    decision = decide(kind("no"))
    if issubclass(kind, ScenarioPermanentError):
        assert decision.action is RetryAction.FAIL
        assert decision.reason
    elif kind in USES_NO_RETRY and can_reschedule():
        assert decision.action.value == "reschedule"
    else:
        assert issubclass(kind, ScenarioTransientError)
        assert decision == RetryDecision.default()


@pytest.mark.parametrize("seconds", [0.0, 7.5, 900.0])
def test_a_passing_error_waits_as_long_as_scenario_asked(seconds: float) -> None:
    error = ScenarioTransientError("busy", retry_after=seconds)
    decision = decide(error)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay == datetime.timedelta(seconds=seconds)
    assert decision.reason


def author(delay: float, **settings: Any) -> Any:
    """Give the context of a task whose author set a delay."""
    return {"task": SimpleNamespace(retry_delay=datetime.timedelta(seconds=delay), **settings)}


@pytest.mark.parametrize(
    ("own", "asked", "waits"),
    [(300, 1.0, None), (300, 300.0, None), (300, 900.0, 900), (5, 7.5, 7.5), (7200, 3600.0, None), (0, 0.0, None)],
)
def test_the_longer_of_both_delays_counts(own: float, asked: float, waits: float | None) -> None:
    decision = ScenarioRetryPolicy().evaluate(ScenarioTransientError("no", retry_after=asked), 1, 3, author(own))
    if waits is None:
        assert decision == RetryDecision.default(), "Airflow waits for the author's delay"
    else:
        assert decision.retry_delay == datetime.timedelta(seconds=waits)


@pytest.mark.parametrize("asked", [3601.0, 315_360_000.0, 1e300, float("inf")])
def test_an_hour_is_the_most_that_scenario_is_given(asked: float) -> None:
    decision = decide(ScenarioTransientError("no", retry_after=asked))
    assert decision.retry_delay == datetime.timedelta(hours=1)


@pytest.mark.parametrize(
    ("factor", "longest", "tries", "waits"),
    [
        (2.0, None, 1, 100.0),
        (2.0, None, 2, None),
        (True, None, 2, None),
        (2.0, datetime.timedelta(seconds=90), 9, 100.0),
        (2.0, 90.0, 9, 100.0),
        (2.0, None, 5000, None),
        (0, None, 9, 100.0),
    ],
)
def test_an_exponential_backoff_is_the_authors_delay(
    factor: Any, longest: Any, tries: int, waits: float | None
) -> None:
    context = author(60.0, retry_exponential_backoff=factor, max_retry_delay=longest)
    decision = ScenarioRetryPolicy().evaluate(ScenarioTransientError("no", retry_after=100.0), tries, 9, context)
    assert decision.retry_delay == (None if waits is None else datetime.timedelta(seconds=waits))


def test_a_real_operators_delay_is_read() -> None:
    task = ScenarioGenerateOperator(task_id="generate", model_id="model_1", retry_delay=datetime.timedelta(minutes=5))
    policy, context = ScenarioRetryPolicy(), {"task": task}
    short, long = (ScenarioTransientError("no", retry_after=seconds) for seconds in (1.0, 400.0))
    assert policy.evaluate(short, 1, 3, context) == RetryDecision.default()  # type: ignore[arg-type]
    assert policy.evaluate(long, 1, 3, context).retry_delay == datetime.timedelta(seconds=400)  # type: ignore[arg-type]


# Airflow 3.4, which can run a task again without using a retry.


class Action34(enum.Enum):
    """As Airflow 3.4 has it."""

    RETRY, FAIL, DEFAULT, RESCHEDULE = "retry", "fail", "default", "reschedule"


@dataclass(frozen=True)
class Decision34:
    """As Airflow 3.4 has it."""

    action: Action34
    retry_delay: datetime.timedelta | None = None
    reason: str | None = None
    max_reschedules: int | None = None
    reschedule_timeout: datetime.timedelta | None = None

    @classmethod
    def reschedule(cls, delay: datetime.timedelta | None = None, **bounds: Any) -> Decision34:
        assert bounds.get("max_reschedules") or bounds.get("reschedule_timeout"), "Airflow asks for a bound"
        return cls(Action34.RESCHEDULE, delay, **bounds)

    @classmethod
    def fail(cls, reason: str | None = None) -> Decision34:
        return cls(Action34.FAIL, reason=reason)

    @classmethod
    def retry(cls, delay: datetime.timedelta | None = None, reason: str | None = None) -> Decision34:
        return cls(Action34.RETRY, delay, reason)

    @classmethod
    def default(cls) -> Decision34:
        return cls(Action34.DEFAULT)


@pytest.fixture
def on_34(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow has no such decision yet, a double of it."""
    if not can_reschedule():
        monkeypatch.setattr(retry_policy, "RetryDecision", Decision34)


@pytest.mark.usefixtures("on_34")
@pytest.mark.parametrize(("kind", "bound"), USES_NO_RETRY.items())
def test_on_3_4_a_lack_of_slots_or_an_outage_uses_no_retry(
    kind: type[ScenarioError], bound: datetime.timedelta
) -> None:
    error = kind("no")
    for asked, own, waits in ((None, 300, 300), (10.0, 300, 300), (900.0, 300, 900), (1e9, 300, 3600)):
        error.retry_after = asked
        decision: Any = ScenarioRetryPolicy().evaluate(error, 1, 3, author(own))
        assert (decision.action.value, decision.reschedule_timeout) == ("reschedule", bound)
        assert decision.retry_delay == datetime.timedelta(seconds=waits)
        assert "uses no retry" in decision.reason
    error.retry_after = None
    assert ScenarioRetryPolicy().evaluate(error, 1, 3, None).retry_delay is None


@pytest.mark.usefixtures("on_34")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (exceptions.ScenarioConcurrencyLimitError("no"), "runs no more jobs"),
        (exceptions.ScenarioRateLimitError("no"), "asks to slow down"),
        (exceptions.ScenarioServerError("no"), "has a fault"),
    ],
)
def test_on_3_4_the_reason_is_what_went_wrong(error: ScenarioError, why: str) -> None:
    decision: Any = ScenarioRetryPolicy().evaluate(error, 1, 3)
    assert why in decision.reason


@pytest.mark.usefixtures("on_34")
def test_on_3_4_all_else_is_as_before() -> None:
    evaluate: Any = ScenarioRetryPolicy().evaluate
    assert evaluate(ScenarioPermanentError("no"), 1, 3).action.value == "fail"
    assert evaluate(exceptions.ScenarioJobFailedError("no"), 1, 3).action.value == "default"
    assert evaluate(exceptions.ScenarioJobUnreadableError("no"), 1, 3).action.value == "default"
    assert evaluate(ScenarioTransientError("no", retry_after=5.0), 1, 3).action.value == "retry"
    assert evaluate(ValueError("no"), 1, 3).action.value == "default"


def test_a_permanent_error_is_not_retried_whatever_it_says_of_waiting() -> None:
    assert decide(ScenarioPermanentError("no", retry_after=5.0)).action is RetryAction.FAIL


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), AirflowFailException("x"), ScenarioError("x")])
def test_what_is_not_of_a_family_is_left_to_airflow(error: BaseException) -> None:
    assert decide(error) == RetryDecision.default()


def test_the_policy_survives_the_dags_serialization() -> None:
    document = json.loads(json.dumps(ScenarioRetryPolicy().serialize()))
    assert isinstance(ScenarioRetryPolicy.deserialize(document), ScenarioRetryPolicy)


# Whose policy an operator has.


def operator(**arguments: Any) -> ScenarioGenerateOperator:
    return ScenarioGenerateOperator(task_id="generate", model_id="model_1", **arguments)


def test_an_operator_has_ours_by_default() -> None:
    assert isinstance(operator().retry_policy, ScenarioRetryPolicy)


def test_an_operator_keeps_the_users_wherever_it_was_given() -> None:
    given = UsersPolicy()
    assert operator(retry_policy=given).retry_policy is given
    assert operator(default_args={"retry_policy": given}).retry_policy is given
    with DAG("users_policy", default_args={"retry_policy": given}):
        assert operator().retry_policy is given


def test_default_args_of_other_kinds_take_nothing_away() -> None:
    assert isinstance(operator(default_args={"retries": 2}).retry_policy, ScenarioRetryPolicy)
    arguments = {"default_args": None, "retries": 2}
    assert isinstance(with_retry_policy(arguments)["retry_policy"], ScenarioRetryPolicy)
    assert "retry_policy" not in arguments


# Airflow below 3.3.


def test_below_3_3_operators_get_no_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_policy, "HAS_RETRY_POLICIES", False)
    assert with_retry_policy({"retries": 2}) == {"retries": 2}


def test_below_3_3_a_permanent_error_becomes_the_one_that_airflow_does_not_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry_policy, "HAS_RETRY_POLICIES", False)
    cause = ValueError("401")
    wrong = exceptions.ScenarioAuthenticationError("the key is wrong", job_id="job_1")
    with pytest.raises(AirflowFailException, match=r"^the key is wrong$") as raised, task_errors():
        raise wrong from cause
    assert isinstance(raised.value, exceptions.ScenarioAuthenticationError)
    assert raised.value.job_id == "job_1"
    assert raised.value.__cause__ is cause


@pytest.mark.parametrize("has_policies", [True, False])
@pytest.mark.parametrize("error", [ScenarioConnectionError("cut"), ValueError("x")])
def test_any_other_error_goes_through_as_it_is(
    error: Exception, has_policies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "HAS_RETRY_POLICIES", has_policies)
    with pytest.raises(type(error)) as raised, task_errors():
        raise error
    assert raised.value is error


def test_with_policies_a_permanent_error_keeps_its_class() -> None:
    with pytest.raises(ScenarioPermanentError), task_errors():
        raise ScenarioPermanentError("no")
