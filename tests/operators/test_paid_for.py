"""What was paid for is never given up, and never bought again by itself, whatever changed around it."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.polling.wait import WaitResult
from airflow_provider_scenario.submission import job_reader
from tests.api.scripted_server import Answer, Request, scripted
from tests.task_run import TaskRun, deferral
from tests.this_airflow import needs_task_state_store

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

TEXT_TO_VIDEO = "model_wan-2-1-1-3b"


def reframing(video_id: str) -> ScenarioWan22ReframeOperator:
    return ScenarioWan22ReframeOperator(task_id="reframe", video=video_id, poll_interval=0.1)


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
        task_id="reframe", video=video_id, poll_interval=0.1, wait_for_completion=False
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
    with pytest.raises(exceptions.ScenarioInputError, match=f"video: there is no asset {video_id}"):
        reframing(video_id).execute(TaskRun().context)
    assert paid_jobs(scenario) == 0


@pytest.mark.parametrize("wait", [True, False])
def test_a_blocked_job_that_nobody_saw_fail_is_not_bought_again_until_a_clear(
    scenario: SandboxServer, wait: bool
) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun()
    deferral(generating(deferrable=True), run.context)  # The triggerer dies before it looks.
    scenario.set_job(run.xcoms["job_id"], "failure", error="Blocked by content moderation", hint="Change the prompt")
    with pytest.raises(exceptions.ScenarioModerationError, match="Blocked by content moderation"):
        generating(wait_for_completion=wait).execute(run.retry())
    assert paid_jobs(scenario) == 1
    generating(wait_for_completion=False).execute(run.clear())
    assert paid_jobs(scenario) == 2


# What Airflow does not remember, Scenario's job list does: Airflow 3.1 and 3.2 keep no record, 3.4 drops it at a clear


def run_without_a_store(**options: Any) -> TaskRun:
    return TaskRun(has_store=False, **options)


def test_a_retry_without_a_record_finds_the_job_by_its_seed(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    run = run_without_a_store()
    first = generating(wait_for_completion=False).execute(run.context)
    again = generating(wait_for_completion=False).execute(run.retry())
    assert again["job_id"] == first["job_id"]
    assert paid_jobs(scenario) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_try_that_airflow_runs_twice_under_one_number_buys_once(scenario: SandboxServer, deferrable: bool) -> None:
    """Airflow 3.2 was seen to do so on a busy machine, after the first worker had handed its task to the triggerer."""
    run = run_without_a_store()
    first = deferral(generating(deferrable=True), run.context).trigger if deferrable else None
    if first is None:
        generating().execute(run.context)
    run.xcoms.clear()
    again = generating(wait_for_completion=False).execute(run.context)
    assert paid_jobs(scenario) == 1
    assert again["job_id"] == scenario.ledger()["entries"][0]["jobId"]


def test_a_first_try_takes_no_other_tasks_job(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    given = {"model_id": TEXT_TO_VIDEO, "inputs": {"prompt": "A boat", "seed": 7}, "wait_for_completion": False}
    first = ScenarioGenerateOperator(task_id="generate", **given).execute(run_without_a_store().context)
    second = ScenarioGenerateOperator(task_id="generate", **given).execute(run_without_a_store().context)
    assert first["job_id"] != second["job_id"]
    assert paid_jobs(scenario) == 2


@pytest.mark.parametrize("seconds", [0.1, 60])
def test_a_clear_without_a_record_takes_the_job_over_and_buys_nothing(scenario: SandboxServer, seconds: float) -> None:
    scenario.configure(job_seconds=seconds)
    run = run_without_a_store()
    first = generating(wait_for_completion=seconds < 1).execute(run.context) if seconds < 1 else None
    first = first or generating(wait_for_completion=False).execute(run.context)
    again = generating(wait_for_completion=seconds < 1).execute(run.clear())
    assert again["job_id"] == first["job_id"]
    assert paid_jobs(scenario) == 1


def test_two_airflows_with_the_same_names_do_not_share_a_job(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_scenario.submission.job_reader.LIST_LAG_SECONDS", 0.5)
    scenario.configure(job_seconds=60)
    one, other = run_without_a_store(), run_without_a_store()
    for run, hour in ((one, 1), (other, 2)):
        run.started_at = datetime.datetime(2026, 11, 20, hour, tzinfo=datetime.UTC)
    first = generating(wait_for_completion=False).execute(one.context)
    second = generating(wait_for_completion=False).execute(other.retry())
    assert second["job_id"] != first["job_id"]
    assert paid_jobs(scenario) == 2
    for run, job_id in ((one, first["job_id"]), (other, second["job_id"])):
        assert generating(wait_for_completion=False).execute(run.retry())["job_id"] == job_id
    assert paid_jobs(scenario) == 2


@pytest.mark.parametrize("again", ["retry", "clear"])
def test_an_authors_seed_without_a_record_is_found_by_its_inputs(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    monkeypatch.setattr("airflow_provider_scenario.submission.job_reader.LIST_LAG_SECONDS", 0.5)
    scenario.configure(job_seconds=60)
    run = run_without_a_store()

    def task() -> ScenarioGenerateOperator:
        return ScenarioGenerateOperator(
            task_id="generate",
            model_id=TEXT_TO_VIDEO,
            inputs={"prompt": "A boat", "seed": 7},
            wait_for_completion=False,
        )

    run.started_at = datetime.datetime.now(datetime.UTC)
    first = task().execute(run.context)
    context = run.retry() if again == "retry" else run.clear()
    assert task().execute(context)["job_id"] == first["job_id"]
    assert paid_jobs(scenario) == 1


def test_a_dry_run_that_bought_is_found_by_its_seed_without_a_record(scenario: SandboxServer) -> None:
    scenario.configure(dry_run_ignored=True)
    run = run_without_a_store()
    first = generating(max_cost=100).execute(run.context)
    assert generating(max_cost=100).execute(run.retry())["job_id"] == first["job_id"]
    assert paid_jobs(scenario) == 1


def test_a_limit_that_came_out_empty_does_not_hide_a_bought_job(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    run = run_without_a_store()
    first = generating(max_cost=100, wait_for_completion=False).execute(run.context)
    again = generating(max_cost=100, wait_for_completion=False)
    again.max_cost = None
    assert again.execute(run.retry())["job_id"] == first["job_id"]


@needs_task_state_store
def test_with_a_record_no_list_is_read_before_a_purchase_or_by_a_retry(scenario: SandboxServer) -> None:
    """A search takes minutes: only a lost reply is worth one."""
    run = TaskRun()
    generating().execute(run.context)
    generating().execute(run.retry())
    assert scenario.requests()["counts"].get("GET /v1/jobs", 0) == 0
    assert paid_jobs(scenario) == 1


# Another process, another key


def test_a_wait_that_only_the_triggerer_could_not_keep_is_looked_at_by_the_worker(scenario: SandboxServer) -> None:
    """Its proxy, its certificates: the triggerer never reached Scenario, and the job is there."""
    scenario.configure(job_seconds=60)
    run = TaskRun(retries=0)
    deferral(generating(deferrable=True), run.context)
    job_id = run.xcoms["job_id"]
    event = WaitResult(job_id, timed_out=True).to_event()
    with pytest.raises(exceptions.ScenarioTimeoutError, match=r"it is (pending|queued|warming-up|in-progress)"):
        generating(deferrable=True).execute_complete(run.context, event)
    scenario.finish_job(job_id)
    assert generating(deferrable=True).execute_complete(run.context, event)["job_id"] == job_id
    assert paid_jobs(scenario) == 1


@needs_task_state_store
def test_a_lost_reply_is_not_looked_for_with_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of another project came into the same connection: its job list does not show the job."""
    monkeypatch.setattr(job_reader, "LIST_LAG_SECONDS", 0.2)
    model = {"id": TEXT_TO_VIDEO, "inputs": [{"name": "prompt", "type": "string"}, {"name": "seed", "type": "number"}]}
    bought: list[tuple[str, dict[str, Any]]] = []

    def script(request: Request) -> Answer:
        key = request.headers["authorization"]
        if request.method == "POST":
            row = {"jobId": f"job_{len(bought)}", "status": "queued", "metadata": {"input": json.loads(request.body)}}
            bought.append((key, row))
            return Answer(drop="reset")
        if "/models/" in request.target:
            return Answer(body=json.dumps({"model": model}).encode())
        return Answer(body=json.dumps({"jobs": [row for payer, row in bought if payer == key]}).encode())

    with scripted(script) as server:

        def connect(key: str) -> None:
            connection = {"conn_type": "scenario", "login": key, "password": "s", "host": f"{server.url}/v1"}
            monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(connection))

        run = TaskRun(has_store=True)
        connect("key_of_project_a")
        with monkeypatch.context() as dying:
            dying.setattr(job_reader.JobReader, "search", _die)
            with pytest.raises(KeyboardInterrupt):
                generating(wait_for_completion=False).execute(run.context)
        connect("key_of_project_b")
        with pytest.raises(exceptions.ScenarioSubmissionError, match="Set the connection back") as caught:
            generating(wait_for_completion=False).execute(run.retry())
        assert "key_of_project" not in str(caught.value)
        connect("key_of_project_a")
        assert generating(wait_for_completion=False).execute(run.retry())["job_id"] == "job_0"
        assert len(bought) == 1


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
