"""Waiting for a job that was bought elsewhere, in a worker, in many short looks, or in the triggerer."""

from __future__ import annotations

import datetime
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import DAG
from jinja2 import StrictUndefined, Undefined

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.exceptions import ScenarioJobUnreadableError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.polling import wait
from airflow_provider_scenario.polling.wait import WaitResult
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger
from tests.task_run import TaskRun, deferral, event_of, resumed
from tests.this_airflow import airflow_exception

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.sandbox_fixtures import Log

AirflowRescheduleException = airflow_exception("AirflowRescheduleException")

WAYS: dict[str, dict[str, Any]] = {
    "poke": {},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
every_way = pytest.mark.parametrize("way", WAYS)


def sensing(job_id: Any, **arguments: Any) -> ScenarioJobSensor:
    return ScenarioJobSensor(**{"task_id": "wait", "job_id": job_id, "poke_interval": 0.1, **arguments})


def run_through(job_id: str, run: TaskRun, **arguments: Any) -> Any:
    """Run a sensor to its end, however often Airflow starts it anew for that."""
    while True:
        try:
            return sensing(job_id, **arguments).execute(run.context)
        except AirflowRescheduleException as again:
            run.ti.first_reschedule = run.ti.first_reschedule or datetime.datetime.now(datetime.UTC)
            time.sleep(max(0.0, again.reschedule_date.timestamp() - time.time()))
        except TaskDeferred as deferred:
            return resumed(sensing(job_id, **arguments), deferred, run.context)


@every_way
def test_returns_what_the_operator_returns(scenario: SandboxServer, way: str) -> None:
    scenario.configure(job_seconds=0.5)
    bought = ScenarioGenerateOperator(
        task_id="buy", model_id="model_wan-2-1-1-3b", inputs={"prompt": "A boat"}, wait_for_completion=False
    )
    run = TaskRun()
    job_id = bought.execute(run.context)["job_id"]
    found = run_through(job_id, TaskRun(), **WAYS[way])
    bought.wait_for_completion = True
    assert found == bought.execute(run.retry())
    assert found["asset_id"]
    assert scenario.ledger()["totals"]["jobs"] == 1


@every_way
def test_makes_job_and_link_known_before_the_wait(scenario: SandboxServer, way: str) -> None:
    (job_id,) = scenario.make_jobs(1)
    run = TaskRun()
    with pytest.raises((AirflowSensorTimeout, AirflowRescheduleException, TaskDeferred)):
        sensing(job_id, timeout=0, **WAYS[way]).execute(run.context)
    assert run.xcoms["job_id"] == job_id
    assert job_id in run.xcoms["_link_ScenarioJobLink"]
    assert sensing(job_id).multiple_outputs is True


@pytest.mark.parametrize("way", ["poke", "deferrable"])
def test_says_what_is_waited_for_as_the_operator_does(scenario: SandboxServer, log: Log, way: str) -> None:
    """Model and price are the job's own; what is usual is the model's, which is read once."""
    scenario.configure(job_seconds=3)
    bought = ScenarioGenerateOperator(
        task_id="buy", model_id="model_wan-2-1-1-3b", inputs={"prompt": "A boat"}, wait_for_completion=False
    )
    made = bought.execute(TaskRun().context)
    job_id, asked = made["job_id"], scenario.requests()["counts"]["GET /v1/models/{modelId}"]
    run_through(job_id, TaskRun(), **WAYS[way])
    assert log.text.count(f"Job {job_id}: https://") == 2  # the operator's, and the sensor's
    assert f"Job {job_id} (model_wan-2-1-1-3b, {made['cost']} creative units): " in log.text
    assert log.text.count("Such jobs usually take 3 s, 2.5 s of it running.") == 1
    assert scenario.requests()["counts"]["GET /v1/models/{modelId}"] == asked + 1


def test_what_is_usual_is_not_worth_waiting_for(scenario: SandboxServer, log: Log) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=0.5, modelId="model_wan-2-1-1-3b")
    scenario.add_fault("status", path="/v1/models", times=None)
    assert run_through(job_id, TaskRun())["job_id"] == job_id
    assert "(model_wan-2-1-1-3b" in log.text
    assert scenario.requests()["counts"]["GET /v1/models/{modelId}"] == 1


def test_a_reschedule_asks_for_the_job_alone(scenario: SandboxServer, log: Log) -> None:
    (job_id,) = scenario.make_jobs(1, modelId="model_wan-2-1-1-3b")
    for _ in range(3):
        with pytest.raises(AirflowRescheduleException):
            sensing(job_id, mode="reschedule").execute(TaskRun().context)
    assert "GET /v1/models/{modelId}" not in scenario.requests()["counts"]
    assert log.text.count("(model_wan-2-1-1-3b") == 3


def test_gives_its_place_free_between_two_looks(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    with pytest.raises(AirflowRescheduleException) as caught:
        sensing(job_id, mode="reschedule", poke_interval=600).execute(TaskRun().context)
    assert caught.value.reschedule_date.timestamp() == pytest.approx(time.time() + 600, abs=10)


def test_defers_to_a_trigger_that_never_cancels(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    deferred = deferral(sensing(job_id, deferrable=True, timeout=300), TaskRun().context)
    assert isinstance(deferred.trigger, ScenarioJobTrigger)
    stored = deferred.trigger.serialize()[1]
    assert stored == {
        "job_id": job_id,
        "scenario_conn_id": "scenario_default",
        "project_id": None,
        "deadline": pytest.approx(time.time() + 300, abs=5),
        "poll_interval": 0.1,
        "usual": None,  # jobs of no time have no usual times
        "since": pytest.approx(time.time(), abs=5),  # Unless told, the watcher would read the job singly.
    }
    assert deferred.timeout == datetime.timedelta(seconds=360)


@every_way
def test_a_finished_job_is_told_of_at_once(scenario: SandboxServer, way: str) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    with ScenarioHook().get_conn() as client:
        while not client.send(calls.get_job(job_id)).is_finished:  # Its video is still being drawn.
            time.sleep(0.02)
    looks = scenario.requests()["counts"]["GET /v1/jobs/{jobId}"]
    result = sensing(job_id, **WAYS[way]).execute(TaskRun().context)
    assert result["job_id"] == job_id
    assert scenario.requests()["counts"]["GET /v1/jobs/{jobId}"] == looks + 1


@every_way
def test_a_job_id_out_of_a_template_may_end_with_its_line(scenario: SandboxServer, way: str) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.finish_job(job_id)
    assert sensing(f"{job_id}\n", **WAYS[way]).execute(TaskRun().context)["job_id"] == job_id


def test_a_line_s_end_after_a_job_id_makes_no_event_stale(scenario: SandboxServer) -> None:
    """Airflow renders the templates anew after a deferral."""
    (job_id,) = scenario.make_jobs(1)
    run = TaskRun()
    deferred = deferral(sensing(f"{job_id}\n", deferrable=True), run.context)
    scenario.finish_job(job_id)
    assert resumed(sensing(f"{job_id}\n", deferrable=True), deferred, run.context)["job_id"] == job_id


@pytest.mark.parametrize("job_id", ["\n", "None", ""])
def test_a_job_id_that_came_out_empty_is_refused(scenario: SandboxServer, job_id: str) -> None:
    with pytest.raises(AirflowFailException, match="must be the id of one job"):
        sensing(job_id).execute(TaskRun().context)


@every_way
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("status", "said"),
    [("failure", "It broke. Mend it."), ("canceled", "was canceled at Scenario")],
)
def test_a_job_that_ended_badly_fails_without_retries(
    scenario: SandboxServer, way: str, late: bool, status: str, said: str
) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=0.3 if late else None)
    if late:
        odd = {"jobId": job_id, "status": "in-progress", "progress": 0.5}
        scenario.add_fault(
            {"type": "status", "code": 200, "body": {"job": odd, "jobs": [odd]}}, path="/v1/jobs", times=2
        )
    scenario.set_job(job_id, status, error="It broke.", hint="Mend it.")
    with pytest.raises(AirflowFailException, match=said) as caught:
        run_through(job_id, TaskRun(), **WAYS[way])
    assert job_id in str(caught.value)


@every_way
@pytest.mark.parametrize("late", [False, True])
def test_fails_softly_on_request(scenario: SandboxServer, way: str, late: bool) -> None:
    (job_id,) = scenario.make_jobs(1)
    if late:
        odd = {"jobId": job_id, "status": "in-progress", "progress": 0.5}
        scenario.add_fault(
            {"type": "status", "code": 200, "body": {"job": odd, "jobs": [odd]}}, path="/v1/jobs", times=1
        )
    scenario.set_job(job_id, "failure", error="It broke.")
    with pytest.raises(AirflowSkipException):
        run_through(job_id, TaskRun(), soft_fail=True, **WAYS[way])


@every_way
def test_times_out(scenario: SandboxServer, way: str) -> None:
    (job_id,) = scenario.make_jobs(1)
    with pytest.raises(AirflowSensorTimeout):
        run_through(job_id, TaskRun(), timeout=0.4, **WAYS[way])


@every_way
def test_times_out_softly_on_request(scenario: SandboxServer, way: str) -> None:
    (job_id,) = scenario.make_jobs(1)
    with pytest.raises(AirflowSkipException):
        run_through(job_id, TaskRun(), timeout=0.4, soft_fail=True, **WAYS[way])


def test_the_triggerers_timeout_says_what_becomes_of_the_job(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    with pytest.raises(AirflowSensorTimeout, match=f"Job {job_id} was not finished within 0.4 s.*runs on"):
        run_through(job_id, TaskRun(), timeout=0.4, deferrable=True)


def test_a_silent_triggerer_is_a_timeout_too(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    with pytest.raises(AirflowSensorTimeout):
        sensing(job_id).resume_execution("__fail__", {"error": "Trigger timeout"}, TaskRun().context)


@every_way
def test_an_unknown_status_is_waited_on(scenario: SandboxServer, log: Log, way: str) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    odd = {"jobId": job_id, "status": "polishing", "progress": 0.5}
    scenario.add_fault({"type": "status", "code": 200, "body": {"job": odd, "jobs": [odd]}}, path="/v1/jobs", times=3)
    assert run_through(job_id, TaskRun(), **WAYS[way])["job_id"] == job_id
    assert "has a status this provider does not know" in log.text
    assert "polishing" in log.text


@every_way
def test_errors_on_the_way_do_not_end_the_wait(scenario: SandboxServer, way: str) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    scenario.add_fault("status", path="/v1/jobs", times=7)
    assert run_through(job_id, TaskRun(), **WAYS[way])["job_id"] == job_id


PAGE = "<!doctype html><html><title>Sign in</title><h1>The gateway lets nothing through for now.</h1></html>"
every_refusal = pytest.mark.parametrize(
    "refusal",
    [
        {"type": "status", "code": code, "body": body, "headers": {"Location": "/sign-in"}}
        for code, body in ((302, PAGE), (400, PAGE), (401, {"reason": "no"}), (403, PAGE), (404, {}), (404, PAGE))
    ],
    ids=lambda refusal: f"{refusal['code']} {type(refusal['body']).__name__}",
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.4)


@every_way
@every_refusal
def test_a_refusal_on_the_way_does_not_end_the_wait(scenario: SandboxServer, way: str, refusal: Any) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    scenario.add_fault(refusal, path="/v1/jobs", times=2)
    assert run_through(job_id, TaskRun(), **WAYS[way])["job_id"] == job_id
    assert scenario.faults()[0]["hits"] == 2


@every_way
@every_refusal
@pytest.mark.usefixtures("impatient")
def test_a_job_that_the_list_shows_is_waited_for(scenario: SandboxServer, way: str, refusal: Any) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=0.5)
    scenario.add_fault(refusal, path="/v1/jobs/", times=None)
    assert run_through(job_id, TaskRun(), timeout=20, **WAYS[way])["job_id"] == job_id


@every_way
@every_refusal
@pytest.mark.usefixtures("impatient")
def test_a_refusal_that_lasts_keeps_the_retries(scenario: SandboxServer, way: str, refusal: Any) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    scenario.add_fault(refusal, path="/v1/jobs", times=None)
    started = time.monotonic()
    with pytest.raises(ScenarioJobUnreadableError, match=job_id):
        run_through(job_id, TaskRun(), timeout=20, **WAYS[way])
    assert 0.4 <= time.monotonic() - started < 10


@every_way
@pytest.mark.usefixtures("impatient")
def test_a_job_that_stays_unknown_keeps_the_retries(scenario: SandboxServer, way: str) -> None:
    """In reschedule mode too, where each look is made by a process that knows nothing of the last one."""
    started = time.monotonic()
    with pytest.raises(ScenarioJobUnreadableError, match="job_nowhere"):
        run_through("job_nowhere", TaskRun(), timeout=20, **WAYS[way])
    assert 0.4 <= time.monotonic() - started < 10


@every_way
def test_outputs_that_come_late_are_waited_for(scenario: SandboxServer, way: str) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    job = {"jobId": job_id, "status": "success", "progress": 1, "metadata": {}}
    bare = {"type": "status", "code": 200, "body": {"job": job, "jobs": [job]}}
    scenario.add_fault(bare, path="/v1/jobs", times=3)
    assert run_through(job_id, TaskRun(), **WAYS[way])["asset_ids"]


def without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SCENARIO_DEFAULT")
    for name in ("SCENARIO_SDK_API_KEY", "SCENARIO_SDK_API_SECRET"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("impatient")
def test_the_worker_takes_over_what_the_triggerer_has_no_connection_for(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=1.5)
    run = TaskRun()
    deferred = deferral(sensing(job_id, deferrable=True), run.context)
    without_a_connection(monkeypatch)
    event = event_of(deferred)
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", scenario.connection_json())
    assert sensing(job_id, deferrable=True).execute_complete(run.context, event)["asset_ids"]
    assert "The triggerer can't read job" in log.text


@pytest.mark.usefixtures("impatient")
def test_the_worker_that_takes_over_keeps_the_sensors_own_deadline(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    run = TaskRun()
    run.ti.start_date = datetime.datetime.now(datetime.UTC)  # type: ignore[attr-defined]
    event = WaitResult(job_id, error=ScenarioJobUnreadableError("no connection"), take_over=True).to_event()
    started = time.monotonic()
    with pytest.raises(AirflowSensorTimeout):
        sensing(job_id, deferrable=True, timeout=1).execute_complete(run.context, event)
    assert time.monotonic() - started < 20


@every_way
@pytest.mark.usefixtures("impatient")
def test_a_connection_that_nobody_has_keeps_the_retries(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    without_a_connection(monkeypatch)
    with pytest.raises(ScenarioJobUnreadableError, match="There is no connection scenario_default"):
        run_through("job_x", TaskRun(), timeout=20, **WAYS[way])


@every_way
def test_a_job_that_is_unknown_at_first_is_waited_for(scenario: SandboxServer, way: str) -> None:
    scenario.configure(not_found_seconds=0.5)
    (job_id,) = scenario.make_jobs(1, status="success")
    assert run_through(job_id, TaskRun(), **WAYS[way])["job_id"] == job_id


@every_way
@pytest.mark.usefixtures("impatient")
def test_a_wrong_key_is_told_and_keeps_the_retries(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    wrong = {**scenario.connection(), "password": "not-the-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(wrong))
    with pytest.raises(ScenarioJobUnreadableError, match="Check the login"):
        run_through("job_x", TaskRun(), timeout=20, **WAYS[way])


@every_way
@pytest.mark.parametrize("job_id", ["", None, ["job_1", "job_2"]])
def test_what_is_no_job_id_fails_at_once(scenario: SandboxServer, way: str, job_id: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"job_id must be the id of one job, not .*map the sensor"):
        sensing(job_id, **WAYS[way]).execute(TaskRun().context)
    assert scenario.requests()["counts"] == {}


def test_a_stale_event_defers_again(scenario: SandboxServer, log: Log) -> None:
    stale = {"job_id": "job_other", "job": {"job_id": "job_other", "status": "success"}}
    with pytest.raises(TaskDeferred) as caught:
        sensing("job_mine", deferrable=True).execute_complete(TaskRun().context, stale)
    assert caught.value.trigger.serialize()[1]["job_id"] == "job_mine"
    assert "is stale" in log.text


def test_tells_progress(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=0.8)
    run = TaskRun()
    sensing(job_id).execute(run.context)
    assert run.ti.pushed.count("progress") >= 3
    assert (run.xcoms["progress"]["status"], run.xcoms["progress"]["percent"]) == ("success", 100)
    assert run.xcoms["progress"]["queued_seconds"] < run.xcoms["progress"]["running_seconds"]


def test_progress_that_airflow_refuses_is_not_worth_failing_for(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=0.5)
    run = TaskRun()
    run.ti.refused.add("progress")
    assert sensing(job_id).execute(run.context)["job_id"] == job_id


def test_takes_the_job_of_another_task() -> None:
    with DAG("chain", schedule=None):
        bought = ScenarioGenerateOperator(task_id="buy", model_id="model_x", wait_for_completion=False)
        waits = sensing(bought.output["job_id"])
        mapped = ScenarioJobSensor.partial(task_id="many", deferrable=True).expand(job_id=["job_1", "job_2"])
    assert waits.upstream_task_ids == {"buy"}
    assert mapped.unmap({"job_id": "job_2"}).job_id == "job_2"


@pytest.mark.parametrize("undefined", [Undefined, StrictUndefined])
def test_a_project_that_a_native_template_left_undefined_is_none(
    scenario: SandboxServer, undefined: type[Undefined]
) -> None:
    (job_id,) = scenario.make_jobs(1)
    run = TaskRun()
    deferred = deferral(sensing(job_id, project_id=undefined(name="missing"), deferrable=True), run.context)
    assert deferred.trigger.serialize()[1]["project_id"] is None
    assert run.xcoms["scenario"]["project_id"] is None
