"""What a task says when it fails, each message as a whole: what happened, what it cost, what a retry would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from tests.task_run import TaskRun, deferral, resumed
from tests.this_airflow import STORES, is_retried

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

MODEL = "model_wan-2-1-1-3b"
JOB = "Job JOB (model_wan-2-1-1-3b, seed SEED)"
PAGE = "https://app.scenario.com/create?restartGeneration=JOB"
ANEW = f"Running the task that bought it again buys a new one. {PAGE}"
BLOCKED = (
    "The same inputs are likely to be blocked again, so there is no retry: change the prompt or the media, then clear "
    f"the task that bought it. {PAGE}"
)


def generating(prompt: str, **arguments: Any) -> ScenarioGenerateOperator:
    given = {"task_id": "generate", "model_id": MODEL, "inputs": {"prompt": prompt}, "poll_interval": 0.1}
    return ScenarioGenerateOperator(**{**given, **arguments})


JOBS = {
    "[fail]": (
        exceptions.ScenarioJobFailedError,
        f"{JOB} failed: The model could not generate the video. This is a problem on the provider's side. Try again "
        f"later. Scenario refunds its 13.1 creative units. {ANEW}",
    ),
    "[fail no refund]": (
        exceptions.ScenarioJobFailedError,
        f"{JOB} failed: The model could not generate the video. This is a problem on the provider's side. Try again "
        f"later. Scenario keeps its 13.1 creative units: refunds are disabled for this job. {ANEW}",
    ),
    "A forbidden boat": (
        exceptions.ScenarioModerationError,
        f"{JOB} failed: The request was blocked by content moderation. The prompt or an input was flagged as sensitive "
        f"content. Change the prompt and try again. Scenario refunds its 13.1 creative units. {BLOCKED}",
    ),
    "[cancel]": (
        exceptions.ScenarioJobCanceledError,
        f"{JOB} was canceled at Scenario. It was charged 13.1 creative units; Scenario does not say whether it refunds "
        f"a canceled job. {ANEW}",
    ),
    "[stuck]": (
        exceptions.ScenarioTimeoutError,
        "Job JOB was not finished within 0.5 s: it is in-progress at 90%. It was not cancelled: it runs on and is "
        "charged 13.1 creative units. A retry takes its result without paying again if it is done by then; "
        f"to wait longer, raise timeout. {PAGE}",
    ),
}


@pytest.mark.parametrize("has_store", STORES)
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("prompt", JOBS)
def test_a_job_that_did_not_succeed(scenario: SandboxServer, prompt: str, deferrable: bool, has_store: bool) -> None:
    kind, message = JOBS[prompt]
    scenario.configure(quality_gate_units=0.1, job_seconds=0.2 if deferrable else 0)
    run = TaskRun(has_store=has_store)
    operator = generating(prompt, deferrable=deferrable, timeout=0.5 if prompt == "[stuck]" else 60)
    with pytest.raises(kind) as caught:
        resumed(operator, deferral(operator, run.context), run.context) if deferrable else operator.execute(run.context)
    (entry,) = scenario.ledger()["entries"]
    expected = message.replace("JOB", entry["jobId"]).replace("SEED", str(entry["inputs"]["seed"]))
    assert str(caught.value) == expected
    assert is_retried(caught.value) == (kind is not exceptions.ScenarioModerationError)


REFUSALS = {
    "expired plan": (
        {"type": "status", "code": 403, "body": {"reason": "Your plan expired on 1 November. Renew it to go on."}},
        exceptions.ScenarioPermissionError,
        "Scenario refused to run model_wan-2-1-1-3b: Your plan expired on 1 November. Renew it to go on. Nothing was "
        "charged. The team's plan does not allow this: renew or change the plan in Scenario, then clear the task.",
    ),
    "plan without the model": (
        {
            "type": "status",
            "code": 403,
            "body": {"name": "ModelAccessRestrictedError", "reason": "Upgrade to use it", "requiredPlan": "cu-max"},
        },
        exceptions.ScenarioPermissionError,
        "Scenario refused to run model_wan-2-1-1-3b: Upgrade to use it. Nothing was charged. This needs the plan "
        "cu-max: renew or change the plan in Scenario, then clear the task.",
    ),
    "missing credits, said in another way": (
        {"type": "status", "code": 403, "body": {"message": "Insufficient credits.", "traceId": "trace-7"}},
        exceptions.ScenarioInsufficientCreditsError,
        "Scenario refused to run model_wan-2-1-1-3b: Insufficient credits (trace id trace-7). Nothing was charged. A "
        "retry can't help: the team needs more creative units. Then clear the task.",
    ),
    "blocked prompt": (
        {"type": "status", "code": 400, "body": {"reason": "Your prompt was rejected by our safety system."}},
        exceptions.ScenarioModerationError,
        "Scenario refused to run model_wan-2-1-1-3b: Your prompt was rejected by our safety system. Nothing was "
        "charged. The same inputs would be blocked again, so there is no retry: change the prompt or the media, then "
        "clear the task.",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_told_in_scenarios_own_words(scenario: SandboxServer, name: str) -> None:
    fault, kind, message = REFUSALS[name]
    scenario.add_fault(fault, method="POST", path="/generate/")
    with pytest.raises(kind) as caught:
        generating("A boat").execute(TaskRun().context)
    assert str(caught.value) == message
    assert not is_retried(caught.value)
    assert scenario.ledger()["totals"]["jobs"] == 0


def test_missing_credits(scenario: SandboxServer) -> None:
    scenario.configure(creative_units=12.9)
    with pytest.raises(exceptions.ScenarioInsufficientCreditsError) as caught:
        generating("A boat").execute(TaskRun().context)
    assert str(caught.value) == (
        "Scenario refused to run model_wan-2-1-1-3b: Not enough creative units to run this generation. Nothing was "
        "charged. A retry can't help: the team needs more creative units. Then clear the task."
    )
    assert not is_retried(caught.value)
    assert scenario.ledger()["totals"]["jobs"] == 0
