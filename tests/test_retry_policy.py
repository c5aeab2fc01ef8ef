"""Scenario's two families of errors, as Airflow's retries see them."""

from __future__ import annotations

import datetime
import json
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
from airflow_provider_scenario.retry_policy import ScenarioRetryPolicy, permanent_errors_end_the_task, with_retry_policy

ERRORS = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, ScenarioError) and value is not ScenarioError
]


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
    error = ScenarioPermanentError("the key is wrong")
    with pytest.raises(AirflowFailException, match=r"^the key is wrong$") as raised, permanent_errors_end_the_task():
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("has_policies", [True, False])
@pytest.mark.parametrize("error", [ScenarioConnectionError("cut"), ValueError("x")])
def test_any_other_error_goes_through_as_it_is(
    error: Exception, has_policies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "HAS_RETRY_POLICIES", has_policies)
    with pytest.raises(type(error)) as raised, permanent_errors_end_the_task():
        raise error
    assert raised.value is error


def test_with_policies_a_permanent_error_keeps_its_class() -> None:
    with pytest.raises(ScenarioPermanentError), permanent_errors_end_the_task():
        raise ScenarioPermanentError("no")
