"""What becomes of jobs, and what is said of it. Each is run for real: see ``stage.py``."""

from __future__ import annotations

import pytest

from tests.docs.stage import Stage, generating, raised, remembering, story
from tests.task_run import TaskRun, deferral, event_of


@raised
def blocked(stage: Stage) -> None:
    generating(prompt="A forbidden boat").execute(TaskRun().context)


@raised
def job_failed(stage: Stage) -> None:
    generating(prompt="A boat [fail]").execute(TaskRun().context)


@raised
def job_canceled(stage: Stage) -> None:
    generating(prompt="A boat [cancel]").execute(TaskRun().context)


@raised
def too_slow(stage: Stage) -> None:
    generating(prompt="A boat [stuck]", timeout=0.3).execute(TaskRun().context)


@remembering
@raised
def changed_inputs(stage: Stage) -> None:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    generating(wait_for_completion=False).execute(run.context)
    generating(prompt="A ship", on_changed_inputs="fail").execute(run.retry())


@remembering
@story
def changed_inputs_bought(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    generating(wait_for_completion=False).execute(run.context)
    stage.said.lines.clear()
    generating(prompt="A ship", wait_for_completion=False).execute(run.retry())
    return stage.said.lines[0]


@remembering
@raised
def lost_submission(stage: Stage) -> None:
    stage.scenario.add_fault("drop_before", method="POST", path="/generate/", times=None)
    generating(on_lost_submission="fail").execute(TaskRun(has_store=True).context)


@raised
def two_jobs_may_be_it(stage: Stage) -> None:
    stage.scenario.configure(job_seconds=60)
    asked = {"inputs": {"seed": 7}, "wait_for_completion": False}
    for _ in range(2):
        generating(**asked).execute(TaskRun(has_store=False).context)
    generating(**asked).execute(TaskRun(has_store=False).retry())


@remembering
@story
def triggerer_without_the_connection(stage: Stage) -> str:
    stage.patch.setattr("airflow_provider_scenario.polling.wait.REFUSED_FOR", 0.5)
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    deferred = deferral(generating(deferrable=True), run.context)
    with pytest.MonkeyPatch.context() as triggerer:
        triggerer.delenv("AIRFLOW_CONN_SCENARIO_DEFAULT")
        event = event_of(deferred)
    stage.scenario.finish_job(run.record["job_id"])
    stage.said.lines.clear()
    generating(deferrable=True).execute_complete(run.context, event)
    return stage.said.lines[0]
