"""What became of the money of each job, and the sums that are reported of it."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.submission.charges import (
    ChargeStatus,
    JobCost,
    PurchaseSummary,
    RunCost,
    charge_status_of,
    run_cost_of,
    spent_on,
    with_charge,
)


def job(status: str, cost: str | None = "7.25", **facts: Any) -> Job:
    return Job("job_1", JobStatus(status), cost=None if cost is None else Decimal(cost), **facts)


@pytest.mark.parametrize(
    ("one", "status", "spent"),
    [
        (job("success"), ChargeStatus.SPENT, "7.25"),
        (job("failure"), ChargeStatus.REFUNDED, "0"),
        (job("failure", refund_disabled=True), ChargeStatus.SPENT, "7.25"),
        (job("canceled"), ChargeStatus.UNCERTAIN, None),
        (job("canceled", refund_disabled=True), ChargeStatus.UNCERTAIN, None),
        (job("queued"), ChargeStatus.RUNNING, "7.25"),
        (job("brand-new"), ChargeStatus.RUNNING, "7.25"),
        (job("success", "0"), ChargeStatus.SPENT, "0"),
        (job("success", None), ChargeStatus.UNKNOWN, None),
        (job("failure", None), ChargeStatus.UNKNOWN, None),
    ],
)
def test_what_became_of_the_money_of_a_job(one: Job, status: ChargeStatus, spent: str | None) -> None:
    assert charge_status_of(one) is status
    assert spent_on(one) == (None if spent is None else Decimal(spent))


def test_a_job_that_scenario_does_not_tell_of_is_unknown() -> None:
    assert JobCost.of("generate", "job_1", None).status is ChargeStatus.UNKNOWN


@pytest.mark.parametrize(
    ("one", "charged", "cost"),
    [
        (job("failure", "7"), "7.25", "7.25"),
        (job("canceled", "7"), "7.25", "7.25"),
        (job("success", "7"), "7.25", "7"),
        (job("success", None), "7.25", "7.25"),
        (job("failure", "7"), None, "7"),
    ],
)
def test_add_ons_that_read_nothing_after_a_refund_are_told_from_the_record(
    one: Job, charged: str | None, cost: str
) -> None:
    assert with_charge(one, charged).cost == Decimal(cost)


MANY = RunCost(
    (
        JobCost("generate[0]", "job_1", ChargeStatus.SPENT, Decimal("0.1")),
        JobCost("generate[0]", "job_2", ChargeStatus.REFUNDED, Decimal("0.2")),
        JobCost("generate[1]", "job_3", ChargeStatus.RUNNING, Decimal("0.2")),
        JobCost("reframe", "job_4", ChargeStatus.UNCERTAIN, Decimal(7)),
        JobCost("reframe", "job_5", ChargeStatus.UNKNOWN),
    )
)


def test_a_report_has_exact_sums_by_task_and_names_what_it_does_not_know() -> None:
    assert json.loads(json.dumps(MANY.to_json())) == {
        "spent": "0.3",
        "uncertain": "7",
        "unknown": "0",
        "jobs": {"spent": 1, "running": 1, "refunded": 1, "uncertain": 1, "unknown": 1},
        "by_task": {"generate[0]": "0.1", "generate[1]": "0.2", "reframe": "0"},
        "unknown_job_ids": ["job_5"],
    }


def test_a_report_reads_well() -> None:
    assert str(MANY) == (
        "5 jobs cost 0.3 creative units; 1 failed and refunded; 1 still running, counted as charged; 1 canceled, for "
        "which 7 creative units were charged and may or may not be refunded, not counted; 1 whose cost Scenario "
        "does not show, not counted"
    )
    assert str(RunCost(MANY.charges[:1])) == "1 job cost 0.1 creative units"
    assert str(RunCost()) == "0 jobs cost 0 creative units"


def test_a_job_that_two_tasks_name_counts_once_for_the_first() -> None:
    done = job("success")
    bought = [("a", "job_1"), ("b", "job_2"), ("c", "job_1")]
    spending = run_cost_of([JobCost.of(task, job_id, done) for task, job_id in bought])
    assert [(charge.task, charge.job_id) for charge in spending.charges] == [("b", "job_2"), ("a", "job_1")]
    assert spending.spent == Decimal("14.5")


@given(st.lists(st.decimals(0, 10_000, places=2), max_size=50))
def test_sums_are_exact_to_the_last_digit(costs: list[Decimal]) -> None:
    charges = tuple(JobCost("task", f"job_{i}", ChargeStatus.SPENT, cost) for i, cost in enumerate(costs))
    hundredths = sum(int(cost * 100) for cost in costs)
    assert int(RunCost(charges).spent * 100) == hundredths
    assert Decimal(RunCost(charges).to_json()["spent"]) * 100 == hundredths


@pytest.mark.parametrize(
    ("one", "charged", "status", "cost"),
    [
        (job("success", None), "7.25", ChargeStatus.SPENT, "7.25"),
        (job("queued", None), "7.25", ChargeStatus.RUNNING, "7.25"),
        (job("failure", None), "7.25", ChargeStatus.REFUNDED, "7.25"),
        (job("canceled", None), "7.25", ChargeStatus.UNCERTAIN, "7.25"),
        (job("success", "7"), "7.25", ChargeStatus.SPENT, "7"),
        (job("success", None), None, ChargeStatus.UNKNOWN, None),
        (None, "7.25", ChargeStatus.UNKNOWN, "7.25"),
        (None, None, ChargeStatus.UNKNOWN, None),
    ],
)
def test_what_was_noted_counts_where_scenario_tells_no_cost(
    one: Job | None, charged: str | None, status: ChargeStatus, cost: str | None
) -> None:
    charge = JobCost.of("generate", "job_1", one, charged)
    assert (charge.status, charge.cost) == (status, None if cost is None else Decimal(cost))


def test_an_unknown_job_is_told_with_what_was_noted() -> None:
    spending = RunCost((JobCost("generate", "job_1", ChargeStatus.UNKNOWN, Decimal("7.25")),))
    assert (spending.to_json()["spent"], spending.to_json()["unknown"]) == ("0", "7.25")
    assert str(spending) == (
        "1 job cost 0 creative units; 1 whose cost Scenario does not show, 7.25 creative units as noted at the "
        "purchase, not counted"
    )


@pytest.mark.parametrize("names", [("left", "took"), ("took", "left")])
def test_a_job_counts_for_the_task_whose_it_surely_is(names: tuple[str, str]) -> None:
    charges = [
        JobCost.of(name, "job_1", None, "11" if name == "took" else None, is_proven=name == "took") for name in names
    ]
    spent = run_cost_of(charges)
    assert [charge.task for charge in spent.charges] == ["took"]
    assert spent.unknown == 11


def test_what_a_task_shows_is_read_back_from_json() -> None:
    bought = PurchaseSummary("generate[3]", "scenario_default", None, ("job_1", "job_2"), {"job_2": "7.25"})
    for one in (bought, dataclasses.replace(bought, unproven_jobs=("job_1",))):
        assert PurchaseSummary.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_what_an_earlier_version_showed_is_read() -> None:
    document = {"task": "generate", "scenario_conn_id": "scenario_default", "project_id": None, "job_ids": ["job_1"]}
    assert PurchaseSummary.from_json(document) == PurchaseSummary("generate", "scenario_default", None, ("job_1",))
