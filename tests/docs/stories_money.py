"""What limits, budgets and missing capacity say. Each is run for real: see ``stage.py``."""

from __future__ import annotations

import contextlib
import json

from airflow_provider_scenario.exceptions import ScenarioJobFailedError
from airflow_provider_scenario.operators.estimate import ScenarioEstimateCostOperator
from tests.docs.stage import MODEL, Stage, generating, raised, story
from tests.task_run import TaskRun, deferral


@story
def no_slot(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60, parallel_jobs=1)
    generating(wait_for_completion=False).execute(TaskRun().context)
    stage.said.lines.clear()
    deferral(generating(prompt="Another", deferrable=True), TaskRun().context)
    return next(line for line in stage.said.lines if "Waiting for capacity" in line)


@raised
def no_slot_in_time(stage: Stage) -> None:
    stage.scenario.configure(job_seconds=60, parallel_jobs=1)
    generating(wait_for_completion=False).execute(TaskRun().context)
    generating(prompt="Another", capacity_timeout=0.1).execute(TaskRun().context)


@raised
def over_budget(stage: Stage) -> None:
    generating(max_cost="10").execute(TaskRun().context)


@raised
def over_total(stage: Stage) -> None:
    sets = [{"prompt": one, "frameNum": 33} for one in ("A fox", "A kite", "Rain")]
    ScenarioEstimateCostOperator(task_id="estimate", model_id=MODEL, inputs=sets, max_total_cost="10").execute(
        TaskRun().context
    )


@story
def estimate(stage: Stage) -> str:
    sets = [{"prompt": one, "frameNum": 33} for one in ("A fox", "A kite", "Rain")]
    ScenarioEstimateCostOperator(task_id="estimate", model_id=MODEL, inputs=sets, max_total_cost="60").execute(
        TaskRun().context
    )
    return stage.told()


@raised
def no_credits(stage: Stage) -> None:
    stage.scenario.configure(creative_units=1)
    generating().execute(TaskRun().context)


@raised
def plan_without_the_model(stage: Stage) -> None:
    stage.scenario.configure(restricted_models=[MODEL])
    generating().execute(TaskRun().context)


@raised
def dry_run_bought(stage: Stage) -> None:
    stage.scenario.configure(dry_run_ignored=True)
    ScenarioEstimateCostOperator(task_id="estimate", model_id=MODEL, inputs={"prompt": "A fox"}).execute(
        TaskRun(has_store=True).context
    )


@story
def run_cost(stage: Stage) -> str:
    from types import SimpleNamespace

    from airflow.sdk.execution_time import task_runner

    from airflow_provider_scenario.run_cost import get_run_cost
    from tests.operators.test_run_cost import XComs

    xcoms = XComs()
    stage.patch.setattr(task_runner, "XCom", xcoms)
    for number, prompt in enumerate(("A fox", "A kite [fail]")):
        task = TaskRun(map_index=number, table=xcoms.tables.setdefault(("run_1", "generate"), {}))
        with contextlib.suppress(ScenarioJobFailedError):
            generating(prompt=prompt).execute(task.context)
    report = {"ti": TaskRun(table={}).ti, "dag": SimpleNamespace(task_ids={"generate"})}
    spent = get_run_cost(report)
    return f"{spent}\n{json.dumps(spent.to_json(), indent=2)}"


@story
def within_budget(stage: Stage) -> str:
    generating(max_cost="13").execute(TaskRun().context)
    return stage.told()
