"""The price before paying: asked of the sandbox over HTTP, held against ``max_cost``, and judged by the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import ScenarioWan21TextToVideoOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.submission.price_check import limit_of
from tests.task_run import TaskRun, deferral
from tests.this_airflow import dag_serialization, is_retried

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.sandbox_fixtures import Log

TEXT_TO_VIDEO = "model_wan-2-1-1-3b"
PRICE = "13"
BELOW_PRICE = "12.99"
GENERATE = "POST /v1/generate/custom/{modelId}"


def generating(prompt: str = "A boat", **arguments: Any) -> ScenarioGenerateOperator:
    given = {"task_id": "generate", "model_id": TEXT_TO_VIDEO, "inputs": {"prompt": prompt}, "poll_interval": 0.1}
    return ScenarioGenerateOperator(**{**given, **arguments})


def posts(scenario: SandboxServer) -> int:
    """How often a generation was asked for, dry or paid."""
    return int(scenario.requests()["counts"].get(GENERATE, 0))


def paid_jobs(scenario: SandboxServer) -> int:
    return int(scenario.ledger()["totals"]["jobs"])


# --- The limit itself


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (None, None),
        (0, "0"),
        (12, "12"),
        ("7.25", "7.25"),
        (" 12 ", "12"),
        (Decimal("0.10"), "0.10"),
        (7.1, "7.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("1e2", "1E+2"),
    ],
)
def test_a_limit_is_a_decimal_to_the_last_digit(given: Any, limit: str | None) -> None:
    assert limit_of("max_cost", given) == (None if limit is None else Decimal(limit))


@pytest.mark.parametrize("given", ["", "None", "cheap", "7,25", -1, "-0.01", "nan", float("inf"), True, [12], {}])
def test_what_is_no_number_of_units_is_a_mistake_and_no_missing_limit(scenario: SandboxServer, given: Any) -> None:
    with pytest.raises(exceptions.ScenarioConfigurationError) as caught:
        generating(max_cost=given).execute(TaskRun().context)
    assert str(caught.value) == (
        f"max_cost must be a number of creative units, 0 or more, such as 12 or '7.25', not {given!r}. Nothing was "
        "bought."
    )
    assert scenario.requests()["counts"] == {}


def test_a_limit_that_came_out_as_none_is_a_mistake_and_no_missing_limit(scenario: SandboxServer) -> None:
    with DAG("native", schedule=None, render_template_as_native_obj=True):
        operator = generating(max_cost="{{ nothing }}")
    operator.render_template_fields({**TaskRun().context, "nothing": None})
    with pytest.raises(exceptions.ScenarioConfigurationError, match="max_cost was given, but came out as None"):
        operator.execute(TaskRun().context)
    assert posts(scenario) == 0


def test_a_retry_that_takes_what_was_bought_minds_no_limit(scenario: SandboxServer) -> None:
    run = TaskRun()
    bought = generating(max_cost=PRICE).execute(run.context)
    assert generating(max_cost="None").execute(run.retry()) == bought
    assert paid_jobs(scenario) == 1


@pytest.mark.parametrize("native", [False, True])
def test_a_limit_is_templated_in_every_generate_operator(scenario: SandboxServer, native: bool) -> None:
    with DAG("templates", schedule=None, render_template_as_native_obj=native):
        operators = [
            generating(max_cost="{{ limit }}"),
            ScenarioWan21TextToVideoOperator(task_id="wan", prompt="A boat", max_cost="{{ limit }}"),
        ]
    for operator in operators:
        operator.render_template_fields({**TaskRun().context, "limit": BELOW_PRICE})
        with pytest.raises(exceptions.ScenarioCostLimitError, match=r"Above max_cost=12\.99"):
            operator.execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


def test_a_decimal_survives_in_a_dag() -> None:
    with DAG("decimals", schedule=None) as dag:
        generating(max_cost=Decimal("7.25"))
        ScenarioGenerateOperator.partial(task_id="mapped", model_id=TEXT_TO_VIDEO, max_cost=Decimal("7.25")).expand(
            inputs=[{"prompt": "A boat"}]
        )
    assert "7.25" in str(dag_serialization().to_dict(dag))


# --- Before paying


def test_above_the_limit_nothing_is_paid_and_nothing_is_tried_again(scenario: SandboxServer) -> None:
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioCostLimitError) as caught:
        generating(max_cost=BELOW_PRICE).execute(run.context)
    assert str(caught.value) == (
        "Above max_cost=12.99: the price is 13 creative units.\n"
        "Nothing was bought.\n"
        "That is what model_wan-2-1-1-3b would cost with these inputs.\n"
        "Raise max_cost or change the inputs, then clear the task."
    )
    assert not is_retried(caught.value)
    assert (posts(scenario), paid_jobs(scenario), run.store.rows) == (1, 0, {})


def test_the_inputs_that_the_price_depends_on_are_named_as_the_author_names_them(scenario: SandboxServer) -> None:
    model = scenario.control("POST", "/models", {"id": "model_dear", "inputs": [
        {"name": "prompt", "type": "string", "required": {"always": True}},
        {"name": "frameNum", "type": "number", "costImpact": True},
        {"name": "videoQuality", "type": "string", "costImpact": True},
    ]})  # fmt: skip
    with pytest.raises(exceptions.ScenarioCostLimitError, match=r"\nThe price depends on frameNum, videoQuality\.\n"):
        generating(model_id=model["model"]["id"], max_cost=0).execute(TaskRun().context)


@pytest.mark.parametrize("limit", [PRICE, Decimal("13.00"), 13, 13.0])
def test_the_limit_itself_may_be_paid(scenario: SandboxServer, log: Log, limit: Any) -> None:
    result = generating(max_cost=limit).execute(TaskRun().context)
    assert result["cost"] == PRICE
    assert "model_wan-2-1-1-3b costs 13 creative units with these inputs; max_cost=13 allows it." in log.text
    assert (posts(scenario), paid_jobs(scenario)) == (2, 1)


def test_fractions_discounts_and_add_ons_count_to_the_last_digit(scenario: SandboxServer) -> None:
    scenario.configure(price_factor=1.1, discount_share=0.3, quality_gate_units=0.3)
    with pytest.raises(
        exceptions.ScenarioCostLimitError, match=r"Above max_cost=10\.3099999: the price is 10\.31 creative units\."
    ):
        generating(max_cost="10.3099999").execute(TaskRun().context)
    assert generating(max_cost="10.31").execute(TaskRun().context)["cost"] == "10.31"
    assert scenario.ledger()["totals"]["charged"] == 10.31


def test_a_file_is_uploaded_first_and_priced_as_the_asset_it_has_become(
    scenario: SandboxServer, tmp_path: Path
) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", seconds=1.0, width=320, height=180, frames_per_second=16)
    reframing = {"model_id": "model_wan-2-2-vace-fun-a14b-reframe", "inputs": {"videoUrl": str(clip)}}
    with pytest.raises(exceptions.ScenarioCostLimitError, match="Nothing was bought"):
        generating(**reframing, max_cost=0).execute(TaskRun().context)
    assert paid_jobs(scenario) == 0
    generating(**reframing, max_cost=1000, wait_for_completion=False).execute(TaskRun().context)
    (entry,) = scenario.ledger()["entries"]
    assert entry["inputs"]["videoUrl"].startswith("asset_")


def test_without_a_limit_no_price_is_asked(scenario: SandboxServer) -> None:
    generating().execute(TaskRun().context)
    assert (posts(scenario), paid_jobs(scenario)) == (1, 1)


def test_a_retry_that_rejoins_asks_for_no_price_and_is_never_refused(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    deferral(generating(max_cost=PRICE, deferrable=True), run.context)
    scenario.configure(price_factor=10)
    deferral(generating(max_cost=PRICE, deferrable=True), run.retry())
    deferral(generating(max_cost=0, deferrable=True), run.clear())
    assert (posts(scenario), paid_jobs(scenario)) == (2, 1)


def test_every_purchase_of_a_task_is_held_against_the_limit(scenario: SandboxServer) -> None:
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating("[fail]", max_cost=PRICE).execute(run.context)
    scenario.configure(price_factor=2)
    with pytest.raises(exceptions.ScenarioCostLimitError, match="the price is 26 creative units"):
        generating("[fail]", max_cost=PRICE).execute(run.retry())
    assert paid_jobs(scenario) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("drop_before", exceptions.ScenarioConnectionError),
        ("drop_after", exceptions.ScenarioConnectionError),
        ("cut_body", exceptions.ScenarioTransientError),
        ({"type": "status", "code": 503}, exceptions.ScenarioServerError),
        ({"type": "status", "code": 200, "body": {"job": {}}}, exceptions.ScenarioServerError),
        ({"type": "status", "code": 429, "headers": {"Retry-After": "60"}}, exceptions.ScenarioTimeoutError),
    ],
)
def test_nothing_is_bought_unpriced(
    scenario: SandboxServer, log: Log, fault: Any, error: type[exceptions.ScenarioError]
) -> None:
    run = TaskRun()
    scenario.add_fault(fault, method="POST", path="/generate/", query="dryRun=api")
    with pytest.raises(error) as caught:
        generating(max_cost=PRICE, capacity_timeout=0.001).execute(run.context)
    assert isinstance(caught.value, exceptions.ScenarioTransientError)
    assert "The price of model_wan-2-1-1-3b could not be had just now, so no purchase was sent." in log.text
    assert (paid_jobs(scenario), run.store.rows) == (0, {})
    assert generating(max_cost=PRICE).execute(run.retry())["cost"] == PRICE
    assert paid_jobs(scenario) == 1


def test_what_the_dry_run_refuses_is_refused_in_scenarios_words(scenario: SandboxServer) -> None:
    scenario.configure(restricted_models=[TEXT_TO_VIDEO])
    with pytest.raises(exceptions.ScenarioPermissionError, match="not available on your current plan"):
        generating(max_cost=PRICE).execute(TaskRun().context)


def test_a_purchase_dearer_than_its_price_is_told_although_it_stands(
    scenario: SandboxServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_scenario.submission.price_check.ask_price", lambda *_: Decimal(1))
    assert generating(max_cost=12).execute(TaskRun().context)["cost"] == PRICE
    assert (
        "Scenario charged 13 creative units, more than the price it had named and than max_cost=12. The purchase can't "
        "be undone." in log.text
    )


# --- A dry run that buys


def test_a_dry_run_that_buys_is_a_purchase_and_its_job_is_kept(scenario: SandboxServer, log: Log) -> None:
    """A proxy that drops the query of a request turns a dry run into a purchase: what is paid for is used."""
    scenario.configure(dry_run_ignored=True)
    run = TaskRun()
    result = generating(max_cost=PRICE).execute(run.context)
    (entry,) = scenario.ledger()["entries"]
    assert result["job_id"] == run.xcoms["job_id"] == entry["jobId"]
    if run.has_store:
        assert run.record["job_id"] == entry["jobId"]
    assert "something between here and Scenario drops the query" in log.text
    assert "It is kept as this task's job." in log.text
    assert generating(max_cost=PRICE).execute(run.retry())["job_id"] == entry["jobId"]
    assert (posts(scenario), paid_jobs(scenario)) == (1, 1)
