"""What a task returns for a job, and each message word for word: what happened, what it cost, what to do."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_scenario.api.asset import asset_page
from airflow_provider_scenario.api.job import Job, JobStatus, job_page
from airflow_provider_scenario.api.values import format_units
from airflow_provider_scenario.exceptions import (
    ErrorDetails,
    ScenarioError,
    ScenarioJobCanceledError,
    ScenarioJobFailedError,
    ScenarioJobUnreadableError,
    ScenarioModerationError,
    ScenarioNotFoundError,
    ScenarioTimeoutError,
)
from airflow_provider_scenario.polling.result import (
    RETRY_REJOINS,
    job_error,
    job_result,
    no_client_error,
    timeout_error,
    unreadable_error,
)

PAGE = "https://app.scenario.com/create?restartGeneration=job_1"


def job(status: str, **facts: Any) -> Job:
    return Job("job_1", JobStatus(status), **facts)


def failed(**facts: Any) -> Job:
    return job("failure", **{"model_id": "model_1", "seed": 5, "cost": Decimal("7.250"), **facts})


def test_a_result_is_json_with_the_cost_exact_and_the_assets_in_order() -> None:
    done = job("success", model_id="model_1", seed=5, cost=Decimal("7.250"), asset_ids=("asset_b", "asset_a"))
    assert json.loads(json.dumps(job_result(done))) == {
        "job_id": "job_1",
        "model_id": "model_1",
        "asset_id": "asset_b",
        "asset_ids": ["asset_b", "asset_a"],
        "seed": 5,
        "cost": "7.25",
    }


def test_what_a_job_has_not_got_yet_is_none_or_empty() -> None:
    assert job_result(job("queued")) == {
        "job_id": "job_1",
        "model_id": None,
        "asset_id": None,
        "asset_ids": [],
        "seed": None,
        "cost": None,
    }


@pytest.mark.parametrize("status", ["success", "queued", "in-progress", "finalizing", "new-one"])
def test_only_a_bad_end_is_an_error(status: str) -> None:
    assert job_error(job(status, error="odd", hint="odd")) is None


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (
            failed(error="Out of memory", hint="Use fewer frames."),
            "Job job_1 (model_1, seed 5) failed: Out of memory. Use fewer frames. Scenario refunds its 7.25 creative "
            "units. Running the task that bought it again buys a new one.",
        ),
        (
            failed(error="Out of memory.", refund_disabled=True),
            "Job job_1 (model_1, seed 5) failed: Out of memory. Scenario keeps its 7.25 creative units: refunds are "
            "disabled for this job. Running the task that bought it again buys a new one.",
        ),
        (
            failed(hint="Use fewer frames", model_id=None, cost=Decimal(1)),
            "Job job_1 (seed 5) failed: Use fewer frames. Scenario refunds its 1 creative unit. Running the task that "
            "bought it again buys a new one.",
        ),
        (
            failed(seed=None, cost=None),
            "Job job_1 (model_1) failed: Scenario gave no reason. Scenario refunds what it charged. Running the task "
            "that bought it again buys a new one.",
        ),
        (
            failed(seed=None, model_id=None, cost=None, refund_disabled=True),
            "Job job_1 failed: Scenario gave no reason. Scenario keeps what it charged: refunds are disabled for this "
            "job. Running the task that bought it again buys a new one.",
        ),
        (
            failed(error="No", cost=Decimal("0.00"), refund_disabled=True),
            "Job job_1 (model_1, seed 5) failed: No. It cost nothing. Running the task that bought it again buys a new "
            "one.",
        ),
    ],
)
def test_a_failed_job_says_why_what_becomes_of_the_money_and_what_a_retry_does(one: Job, message: str) -> None:
    error = job_error(one)
    assert type(error) is ScenarioJobFailedError
    assert str(error) == f"{message} {PAGE}"
    assert error.job_id == "job_1"
    assert error.details == ErrorDetails(reason=one.error, hint=one.hint)


@pytest.mark.parametrize(
    ("facts", "money"),
    [
        ({}, "Scenario refunds its 7.25 creative units."),
        (
            {"refund_disabled": True},
            "Scenario keeps its 7.25 creative units: refunds are disabled for this job.",
        ),
    ],
)
def test_a_moderated_job_is_not_tried_again(facts: dict[str, Any], money: str) -> None:
    error = job_error(failed(error="Blocked by content moderation", **facts))
    assert type(error) is ScenarioModerationError
    assert str(error) == (
        f"Job job_1 (model_1, seed 5) failed: Blocked by content moderation. {money} The same inputs are likely to be "
        "blocked again, so there is no retry: change the prompt or the media, then clear the task that bought it. "
        f"{PAGE}"
    )
    assert error.job_id == "job_1"


@pytest.mark.parametrize(
    ("cost", "money"),
    [
        (
            Decimal(444),
            "It was charged 444 creative units; Scenario does not say whether it refunds a canceled job.",
        ),
        (None, "Scenario does not say whether it refunds a canceled job."),
        (Decimal(0), "It cost nothing."),
    ],
)
def test_a_canceled_job_says_what_is_known_of_the_money(cost: Decimal | None, money: str) -> None:
    error = job_error(job("canceled", model_id="model_1", cost=cost))
    assert type(error) is ScenarioJobCanceledError
    assert str(error) == (
        f"Job job_1 (model_1) was canceled at Scenario. {money} Running the task that bought it again buys a new one. "
        f"{PAGE}"
    )
    assert error.job_id == "job_1"


RETRY = "A retry takes its result without paying again if it is done by then; to wait longer, raise timeout."


@pytest.mark.parametrize(
    ("last_look", "stood", "charge"),
    [
        (
            job("in-progress", progress=0.4, cost=Decimal(11)),
            "it is in-progress at 40%",
            " and is charged 11 creative units",
        ),
        (job("queued"), "it is queued at 0%", ""),
        (None, "it could not be read", ""),
    ],
)
def test_a_deadline_says_where_the_job_stands_and_that_it_runs_on(
    last_look: Job | None, stood: str, charge: str
) -> None:
    error = timeout_error("job_1", last_look, 3600.0, RETRY_REJOINS)
    assert type(error) is ScenarioTimeoutError
    assert str(error) == (
        f"Job job_1 was not finished within 3600 s: {stood}. It was not cancelled: it runs on{charge}. {RETRY} {PAGE}"
    )
    assert error.job_id == "job_1"


@pytest.mark.parametrize(
    ("units", "text"),
    [
        ("11", "11"),
        ("11.00", "11"),
        ("7.250", "7.25"),
        ("100", "100"),
        ("1E+2", "100"),
        ("0", "0"),
        ("0.00", "0"),
        ("0.1", "0.1"),
        ("0.0000001", "0.0000001"),
        ("12345678.9", "12345678.9"),
    ],
)
def test_amounts_are_exact(units: str, text: str) -> None:
    assert format_units(Decimal(units)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (job_page("job_1"), job_page("job_1")),
        (f"See {asset_page('asset_A-1')}.", f"See {asset_page('asset_A-1')}."),
        (f"{job_page('job_1')}&token=SeCrEt", "https://app.scenario.com/create?…"),
        (f"{job_page('job_1')}.SeCrEt", "https://app.scenario.com/create?…"),
        ("https://app.scenario.com/create?token=SeCrEt", "https://app.scenario.com/create?…"),
        ("https://app.scenario.com.evil/create?restartGeneration=SeCrEt", "https://app.scenario.com.evil/create?…"),
    ],
)
def test_of_all_addresses_with_a_query_only_a_page_of_the_web_app_stays_whole_in_a_message(
    text: str, shown: str
) -> None:
    assert str(ScenarioError(text)) == shown


def test_pages_of_the_web_app_are_addressed_by_id() -> None:
    assert job_page("job_1") == "https://app.scenario.com/create?restartGeneration=job_1"
    assert asset_page("asset_1") == "https://app.scenario.com/assets?openAssetId=asset_1"


def test_a_refusal_says_that_the_job_is_paid_for_and_what_to_mend() -> None:
    error = unreadable_error("job_1", ScenarioNotFoundError("Scenario refused to read job job_1: gone."), 61.2)
    assert str(error) == (
        "Job job_1 can't be read. Scenario refused it for 61 s, and the job list does not show it: Scenario refused to "
        "read job job_1: gone. The job was bought and is paid for. Correct the key, the project or the connection: a "
        f"retry of this task looks at the job again and pays nothing. {PAGE}"
    )
    assert (error.job_id, error.take_over) == ("job_1", False)


def test_a_triggerer_without_a_connection_is_named() -> None:
    error = no_client_error("job_1", ScenarioError("There is no connection scenario_prod."), 60.0)
    assert isinstance(error, ScenarioJobUnreadableError)
    assert str(error) == (
        "The triggerer can't read job job_1: for 60 s it had nothing to ask Scenario with: There is no connection "
        "scenario_prod. The triggerer reads its own connections, variables and secrets backend: what is set for the "
        "workers only is missing there. The worker takes the wait over; the job is paid for and runs on. "
        f"{PAGE}"
    )
    assert (error.job_id, error.take_over) == ("job_1", True)
