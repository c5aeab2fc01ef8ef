"""The price of a whole stage, known, logged and refused before anything is bought. Over HTTP, judged by the ledger."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, ObjectStoragePath
from jinja2 import StrictUndefined, Undefined

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.operators.estimate import ALARM_KEY, JOBS_KEY, ScenarioEstimateCostOperator
from airflow_provider_scenario.submission.charges import PURCHASES_KEY
from tests.task_run import TaskRun
from tests.this_airflow import is_retried, needs_task_state_store

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.sandbox_fixtures import Log

TEXT_TO_VIDEO = "model_wan-2-1-1-3b"
SHORT, LONG = {"prompt": "A boat", "frameNum": 17}, {"prompt": "A boat"}
GENERATE = "POST /v1/generate/custom/{modelId}"


def estimating(inputs: Any, **arguments: Any) -> ScenarioEstimateCostOperator:
    return ScenarioEstimateCostOperator(
        **{"task_id": "estimate", "model_id": TEXT_TO_VIDEO, "inputs": inputs, **arguments}
    )


def broken(*_: Any, **__: Any) -> None:
    raise ConnectionError("Airflow's API server is gone")


def posts(scenario: SandboxServer) -> int:
    return int(scenario.requests()["counts"].get(GENERATE, 0))


def paid_jobs(scenario: SandboxServer) -> int:
    return int(scenario.ledger()["totals"]["jobs"])


def test_a_model_out_of_a_template_may_end_with_its_line(scenario: SandboxServer) -> None:
    assert estimating(SHORT, model_id=f"{TEXT_TO_VIDEO}\n").execute(TaskRun().context)[0]["cost"] == "2.75"


def test_one_set_of_inputs(scenario: SandboxServer, log: Log) -> None:
    run = TaskRun()
    assert estimating(SHORT).execute(run.context) == [{"inputs": SHORT, "cost": "2.75"}]
    assert run.xcoms == {"total": "2.75", "count": 1}
    assert "1 generation would cost 2.75 creative units with model_wan-2-1-1-3b. Nothing was bought." in log.text
    assert paid_jobs(scenario) == 0


def test_a_list_of_them_in_order_with_the_sum_to_the_last_digit(scenario: SandboxServer, log: Log) -> None:
    scenario.configure(price_factor=0.1)
    run = TaskRun()
    sets = [LONG, SHORT, {**LONG, "prompt": "A ship"}, SHORT]
    priced = estimating(sets, max_total_cost="3.16").execute(run.context)
    assert priced == [
        {"inputs": one, "cost": cost} for one, cost in zip(sets, ["1.3", "0.28", "1.3", "0.28"], strict=True)
    ]
    assert (run.xcoms["total"], run.xcoms["count"], run.xcoms["scenario"]["max_total_cost"]) == ("3.16", 4, "3.16")
    assert (
        "4 generations would cost 3.16 creative units in all (2 at 0.28, 2 at 1.3) with model_wan-2-1-1-3b; "
        "max_total_cost=3.16. Nothing was bought." in log.text
    )
    assert (posts(scenario), paid_jobs(scenario)) == (3, 0), "equal sets are asked for once"


def test_above_the_limit_the_sum_is_told_and_nothing_is_bought(scenario: SandboxServer, log: Log) -> None:
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioCostLimitError) as caught:
        estimating([LONG, SHORT], max_total_cost=15).execute(run.context)
    assert str(caught.value) == (
        "Above max_total_cost=15: the sum is 15.75 creative units.\n"
        "Nothing was bought.\n"
        "2 generations would cost 15.75 creative units in all (1 at 2.75, 1 at 13) with model_wan-2-1-1-3b.\n"
        "Raise max_total_cost or ask for less, then clear the task."
    )
    assert not is_retried(caught.value)
    page = {"scenario_conn_id": "scenario_default", "project_id": None, "job_ids": [], "max_total_cost": "15"}
    said = {"message": str(caught.value)}
    assert run.xcoms == {"total": "15.75", "count": 2, "scenario": page, "scenario_error": said}
    assert "would cost 15.75 creative units in all" in log.text
    assert paid_jobs(scenario) == 0


def test_nothing_costs_nothing(scenario: SandboxServer, log: Log) -> None:
    run = TaskRun()
    assert estimating([], max_total_cost=0).execute(run.context) == []
    assert (run.xcoms["total"], run.xcoms["count"]) == ("0", 0)
    assert "0 generations would cost 0 creative units in all with" in log.text


@pytest.mark.parametrize("max_total_cost", ["", -1, "cheap"])
def test_a_limit_that_is_none_is_a_mistake(scenario: SandboxServer, max_total_cost: Any) -> None:
    with pytest.raises(
        exceptions.ScenarioConfigurationError, match=r"^max_total_cost must be a number of creative units"
    ):
        estimating(SHORT, max_total_cost=max_total_cost).execute(TaskRun().context)
    assert scenario.requests()["counts"] == {}


@pytest.mark.parametrize(
    "text",
    ["{'prompt': 'A boat', 'frameNum': 17}", '[{"prompt": "A boat", "frameNum": "17"}]', "[\"{'prompt': 'A boat'}\"]"],
)
def test_what_templating_turned_into_text_is_turned_back(scenario: SandboxServer, text: str) -> None:
    operator = estimating("{{ sets }}", max_total_cost="{{ limit }}")
    operator.render_template_fields({**TaskRun().context, "sets": text, "limit": "13"})
    assert len(operator.execute(TaskRun().context)) == 1


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("a boat", "inputs must be a mapping of input names to values, or a list of them: 'a boat'."),
        (7, "inputs must be a mapping of input names to values, or a list of them: 7."),
        ([SHORT, "a boat"], "inputs[1] must be a mapping of input names to values, not 'a boat'."),
    ],
)
def test_what_is_no_inputs_is_named(scenario: SandboxServer, inputs: Any, said: str) -> None:
    with pytest.raises(exceptions.ScenarioInputError) as caught:
        estimating(inputs).execute(TaskRun().context)
    assert str(caught.value) == said


def test_every_fault_of_every_set_is_named_before_a_price_is_asked(scenario: SandboxServer) -> None:
    sets = [SHORT, {"frameNum": 18, "prompt": "A boat"}, {"speed": 2}, *({} for _ in range(30))]
    with pytest.raises(exceptions.ScenarioInputError) as caught:
        estimating(sets).execute(TaskRun().context)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("can't be used, so nothing was sent and nothing charged:")
    assert lines[1].startswith("- inputs[1].frameNum: must be one of 17, 33")
    assert lines[2].startswith("- inputs[2].speed: ")
    assert lines[3] == "- inputs[2].prompt: is required."
    assert (len(lines), lines[-1]) == (22, "- and 13 more.")
    assert posts(scenario) == 0


def test_an_asset_that_is_not_there_is_named(scenario: SandboxServer) -> None:
    reframing = [{"videoUrl": scenario.make_asset(20_000)}, {"videoUrl": "asset_nowhere"}]
    with pytest.raises(exceptions.ScenarioInputError, match=r"- inputs\[1\].videoUrl: there is no asset asset_nowhere"):
        estimating(reframing, model_id="model_wan-2-2-vace-fun-a14b-reframe").execute(TaskRun().context)


@pytest.mark.parametrize("path", ["s3://clips/beach.mp4", ObjectStoragePath("file:///clips/beach.mp4")])
def test_a_file_that_is_not_at_scenario_has_no_price(scenario: SandboxServer, path: Any) -> None:
    with pytest.raises(exceptions.ScenarioInputError) as caught:
        estimating({"videoUrl": path}, model_id="model_wan-2-2-vace-fun-a14b-reframe").execute(TaskRun().context)
    shown = str(path).removeprefix("file://")
    assert str(caught.value) == (
        "The inputs of Wan 2.2 Reframe can't be used, so nothing was sent and nothing charged:\n"
        f"- videoUrl: {shown} is not at Scenario yet, so what it leads to has no price. Upload it first with "
        "ObjectStorageToScenarioOperator, and give the id."
    )


def test_a_price_that_cannot_be_had_is_a_passing_error(scenario: SandboxServer, log: Log) -> None:
    scenario.add_fault({"type": "status", "code": 503}, method="POST", path="/generate/", skip=1)
    with pytest.raises(exceptions.ScenarioServerError):
        estimating([SHORT, LONG]).execute(TaskRun().context)
    assert "could not be had just now, so no purchase was sent" in log.text


@needs_task_state_store
def test_a_dry_run_that_buys_stops_all_further_ones_for_good(scenario: SandboxServer) -> None:
    from airflow.sdk import NEVER_EXPIRE

    scenario.configure(dry_run_ignored=True)
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioDryRunError) as caught:
        estimating([SHORT, LONG]).execute(run.context)
    (entry,) = scenario.ledger()["entries"]
    job_id = entry["jobId"]
    assert str(caught.value) == (
        f"Scenario was asked for the price of model_wan-2-1-1-3b only, but made the job {job_id}, which is charged: "
        "something between here and Scenario drops the query of a request, or the API has changed. No further price "
        "was asked for, and nothing else was bought. Ask for no price until that is mended. "
        f"https://app.scenario.com/create?restartGeneration={job_id}"
    )
    assert (run.xcoms["job_id"], run.xcoms["scenario_purchases"]["job_ids"]) == (job_id, [job_id])
    assert run.store.retentions[ALARM_KEY] is NEVER_EXPIRE
    for context in (run.retry(), run.clear()):
        with pytest.raises(exceptions.ScenarioDryRunError) as caught:
            estimating([SHORT, LONG]).execute(context)
        assert str(caught.value) == (
            f"An earlier dry run of this task made the job {job_id}, which is charged, so no price is asked for again. "
            f"Once that is mended, delete the entry {ALARM_KEY} in this task's Task State Store, then clear the task."
        )
        assert (run.xcoms["job_id"], run.xcoms["scenario_purchases"]["job_ids"]) == (job_id, [job_id])
    assert (posts(scenario), paid_jobs(scenario)) == (1, 1)


@needs_task_state_store
def test_an_alarm_is_kept_before_it_is_shown(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario.configure(dry_run_ignored=True)
    run = TaskRun()
    with monkeypatch.context() as patch:
        patch.setattr(type(run.ti), "xcom_push", broken)
        with pytest.raises(exceptions.ScenarioDryRunError, match="made the job"):
            estimating(SHORT).execute(run.context)
    with pytest.raises(exceptions.ScenarioDryRunError, match="An earlier dry run"):
        estimating(SHORT).execute(run.retry())
    assert (posts(scenario), paid_jobs(scenario)) == (1, 1)


def test_an_alarm_that_airflow_does_not_keep_still_ends_the_task(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.configure(dry_run_ignored=True)
    run = TaskRun()
    monkeypatch.setattr(type(run.store), "set", broken)
    with pytest.raises(exceptions.ScenarioDryRunError, match="made the job"):
        estimating(SHORT).execute(run.context)
    assert len(run.xcoms["scenario_purchases"]["job_ids"]) == 1


@needs_task_state_store
def test_a_second_alarm_does_not_hide_the_first(scenario: SandboxServer) -> None:
    from airflow.sdk import NEVER_EXPIRE

    scenario.configure(dry_run_ignored=True)
    run = TaskRun()
    for context in (run.context, run.clear()):
        run.store.rows.pop(ALARM_KEY, None)  # as a person does who believes that it is mended
        with pytest.raises(exceptions.ScenarioDryRunError):
            estimating(SHORT).execute(context)
    jobs = [entry["jobId"] for entry in scenario.ledger()["entries"]]
    assert len(jobs) == 2
    assert sorted(run.xcoms["scenario_purchases"]["job_ids"]) == sorted(jobs)
    assert run.store.retentions[JOBS_KEY] is NEVER_EXPIRE
    scenario.configure(dry_run_ignored=False)
    del run.store.rows[ALARM_KEY]
    assert estimating(SHORT).execute(run.clear())[0]["cost"] == "2.75"
    assert sorted(run.xcoms["scenario_purchases"]["job_ids"]) == sorted(jobs), "a report still finds them"


def test_it_works_without_a_task_state_store(scenario: SandboxServer) -> None:
    """As below Airflow 3.3."""
    context = {"ti": TaskRun().ti}
    assert estimating(SHORT).execute(context)[0]["cost"] == "2.75"
    scenario.configure(dry_run_ignored=True)
    with pytest.raises(exceptions.ScenarioDryRunError):
        estimating(SHORT).execute(context)


@pytest.mark.parametrize("is_copied", [False, True])
def test_a_limit_that_templating_loses_is_no_missing_limit(scenario: SandboxServer, is_copied: bool) -> None:
    with DAG("native", schedule=None, render_template_as_native_obj=True) as dag:
        given = estimating(SHORT, max_total_cost="{{ nothing }}")
    operator = copy.copy(given) if is_copied else given
    operator.render_template_fields({"nothing": None, "dag": dag}, dag.get_template_env())
    assert operator.max_total_cost is None
    with pytest.raises(exceptions.ScenarioConfigurationError, match=r"max_total_cost was given, .* nothing was bought"):
        operator.execute(TaskRun().context)
    assert posts(scenario) == 0


def test_decimals_are_taken_as_they_are(scenario: SandboxServer) -> None:
    with DAG("decimals", schedule=None):
        operator = estimating(SHORT, max_total_cost=Decimal("2.7499999999999999999"))
    with pytest.raises(exceptions.ScenarioCostLimitError, match=r"Above max_total_cost=2\.7499999999999999999:"):
        operator.execute(TaskRun().context)


@pytest.mark.parametrize("undefined", [Undefined, StrictUndefined])
def test_a_project_that_a_native_template_left_undefined_is_none(
    scenario: SandboxServer, undefined: type[Undefined]
) -> None:
    run = TaskRun()
    estimating(SHORT, max_total_cost=15, project_id=undefined(name="missing")).execute(run.context)
    assert run.xcoms["scenario"]["project_id"] is None
    scenario.configure(dry_run_ignored=True)
    run = TaskRun()
    with pytest.raises(exceptions.ScenarioDryRunError):
        estimating(SHORT, project_id=undefined(name="missing")).execute(run.context)
    assert run.xcoms[PURCHASES_KEY]["project_id"] is None
