"""What was paid for is never given up, and never bought again by itself, whatever changed around it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.api.model import packaged_model
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.submission.decision import Request, Rules
from airflow_provider_scenario.submission.submitter import Purchase
from tests.task_run import TaskRun, deferral

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

TEXT_TO_VIDEO = "model_wan-2-1-1-3b"


def reframing(video_id: str) -> ScenarioWan22ReframeOperator:
    return ScenarioWan22ReframeOperator(task_id="reframe", video_url=video_id, poll_interval=0.1)


def generating(**arguments: Any) -> ScenarioGenerateOperator:
    return ScenarioGenerateOperator(
        task_id="generate", model_id=TEXT_TO_VIDEO, inputs={"prompt": "A boat"}, poll_interval=0.1, **arguments
    )


def paid_jobs(scenario: SandboxServer) -> int:
    return int(scenario.ledger()["totals"]["jobs"])


def test_a_retry_lands_a_job_although_its_source_and_its_model_are_gone(scenario: SandboxServer, video_id: str) -> None:
    scenario.configure(job_seconds=0.2)
    run = TaskRun()
    first = ScenarioWan22ReframeOperator(
        task_id="reframe", video_url=video_id, poll_interval=0.1, wait_for_completion=False
    ).execute(run.context)
    run.retry()
    scenario.add_fault(
        {"type": "status", "code": 404, "body": {"reason": "Model not found"}}, path="/models/", times=None
    )
    scenario.add_fault({"type": "status", "code": 200, "body": {"assets": []}}, path="/assets/get-bulk", times=None)
    assert reframing(video_id).execute(run.context)["job_id"] == first["job_id"]
    assert paid_jobs(scenario) == 1


def test_before_buying_a_source_that_is_gone_is_an_error(scenario: SandboxServer, video_id: str) -> None:
    scenario.add_fault({"type": "status", "code": 200, "body": {"assets": []}}, path="/assets/get-bulk", times=None)
    with pytest.raises(exceptions.ScenarioInputError, match=f"video_url: there is no asset {video_id}"):
        reframing(video_id).execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


@pytest.mark.parametrize("wait", [True, False])
def test_a_blocked_job_that_nobody_saw_fail_is_not_bought_again_until_a_clear(
    scenario: SandboxServer, wait: bool
) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    deferral(generating(deferrable=True), run.context)  # The triggerer dies before it looks.
    scenario.set_job(run.record["job_id"], "failure", error="Blocked by content moderation", hint="Change the prompt")
    with pytest.raises(exceptions.ScenarioModerationError, match="Blocked by content moderation"):
        generating(wait_for_completion=wait).execute(run.retry())
    assert paid_jobs(scenario) == 1
    generating(wait_for_completion=False).execute(run.clear())
    assert paid_jobs(scenario) == 2


def test_a_busy_list_does_not_make_one_try_buy_twice(scenario: SandboxServer) -> None:
    model = packaged_model(TEXT_TO_VIDEO)
    assert model is not None
    request = Request(model.id, {"prompt": "[fail] A boat"}, largest_seed=model.largest_seed)
    scenario.configure(job_seconds=0.1)
    scenario.add_fault("drop_after", method="POST", path="/generate/")
    busy = {"type": "status", "code": 429, "body": {"reason": "slow down"}, "headers": {"Retry-After": "60"}}
    scenario.add_fault(busy, method="GET", path="/v1/jobs$")
    with ScenarioHook().get_conn() as client:
        purchase = Purchase(client, OneTryStore(), Rules())
        with pytest.raises(exceptions.ScenarioRateLimitError):
            purchase.settle(request, max_tries=0)
        deadline = time.monotonic() + 10
        while scenario.ledger()["entries"][0]["status"] != "failure" and time.monotonic() < deadline:
            time.sleep(0.02)
        bought = purchase.settle(request, max_tries=0)
    assert bought.job.status == "failure"
    assert paid_jobs(scenario) == 1


def test_a_model_with_few_seeds_gets_none_of_ours(scenario: SandboxServer) -> None:
    assert not Request("model_1", {"prompt": "A boat"}, largest_seed=65535).needs_our_seed
    assert Request("model_1", {"prompt": "A boat"}, largest_seed=2**31 - 1).needs_our_seed
