"""What one try does over several processes: it waits for capacity or for its job, and may be killed meanwhile."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.polling.result import no_client_error
from airflow_provider_scenario.polling.wait import WaitResult
from airflow_provider_scenario.submission import job_reader, purchase, submitter
from airflow_provider_scenario.triggers import search
from airflow_provider_scenario.triggers.capacity import ScenarioCapacityTrigger
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger
from airflow_provider_scenario.triggers.search import ScenarioSearchTrigger
from tests.task_run import TaskRun, deferral, event_of
from tests.this_airflow import airflow_exception

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.sandbox_fixtures import Log

MODEL = "model_wan-2-1-1-3b"
GATEWAY = "<html>slow down</html>"
FULL = {"type": "status", "code": 429, "body": {"reason": "Too many parallel jobs", "details": {"actionLimit": 2}}}
EITHER = pytest.mark.parametrize("has_store", [True, False])


def generating(**arguments: Any) -> ScenarioGenerateOperator:
    given = {"model_id": MODEL, "inputs": {"prompt": "A boat"}, "poll_interval": 0.1, **arguments}
    return ScenarioGenerateOperator(task_id="generate", **given)


def paid_jobs(scenario: SandboxServer) -> int:
    return int(scenario.ledger()["totals"]["jobs"])


@EITHER
def test_a_gateways_rate_limit_is_no_word_about_capacity(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, has_store: bool
) -> None:
    """The third POST was accepted all the same: only a retry, which searches, may follow."""
    monkeypatch.setattr(job_reader, "LIST_LAG_SECONDS", 0.3)
    scenario.configure(job_seconds=60)
    run = TaskRun(has_store=has_store)
    for when, times in (("status", 2), ("status_after", 1)):
        fault = {"type": when, "code": 429, "body": GATEWAY}
        scenario.add_fault(fault, method="POST", path="/generate/", times=times)
    with pytest.raises(exceptions.ScenarioTransientError) as caught:
        generating(deferrable=True).execute(run.context)
    assert not isinstance(caught.value, exceptions.ScenarioRateLimitError)
    assert generating(wait_for_completion=False).execute(run.retry())["job_id"]
    assert paid_jobs(scenario) == 1


def test_a_rate_limit_of_another_call_is_no_word_about_capacity(scenario: SandboxServer) -> None:
    body = {"reason": "Slow down"}
    scenario.add_fault({"type": "status", "code": 429, "body": body}, method="GET", path="/models/", times=None)
    with pytest.raises(exceptions.ScenarioRateLimitError):
        generating(model_id="model_not-packaged", deferrable=True).execute(TaskRun().context)


def test_who_is_killed_amid_the_search_buys_nothing_more(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(job_reader, "LIST_LAG_SECONDS", 1.5)
    scenario.add_fault({"type": "drop_before"}, method="POST", path="/generate/", times=1)
    operator = generating(wait_for_completion=False)

    def kill_after_the_first_post() -> None:
        while not any("/generate/" in visit for visit in scenario.requests()["counts"]):
            time.sleep(0.05)
        operator.on_kill()

    threading.Thread(target=kill_after_the_first_post).start()
    with pytest.raises(exceptions.ScenarioTransientError, match=r"^The task was ended before it bought anything"):
        operator.execute(TaskRun().context)
    assert paid_jobs(scenario) == 0
    assert log.text.count("looking for it") == 1
    assert sum(number for visit, number in scenario.requests()["counts"].items() if "/generate/" in visit) == 1


@EITHER
@pytest.mark.parametrize("seed", [{}, {"seed": 5}])
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_post_that_a_gateway_sent_twice_is_found_before_the_wait_for_capacity(
    scenario: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    has_store: bool,
    seed: dict[str, int],
    deferrable: bool,
) -> None:
    """The first took the last slot, for want of which Scenario refuses the second."""
    monkeypatch.setattr(submitter, "JOB_SHOWN_SECONDS", 0.1)
    scenario.configure(job_seconds=60 if deferrable else 0)
    scenario.add_fault({**FULL, "type": "status_after"}, method="POST", path="/generate/", times=1)
    run, operator = TaskRun(has_store=has_store), generating(inputs={"prompt": "A boat", **seed}, deferrable=deferrable)
    if deferrable:
        trigger = deferral(operator, run.context).trigger
        if isinstance(trigger, ScenarioCapacityTrigger):
            event = {"since": trigger.since, "searched": trigger.searched}
            with pytest.raises(TaskDeferred) as caught:
                operator.execute_when_free(run.context, event)
            trigger = caught.value.trigger
        assert isinstance(trigger, ScenarioJobTrigger)
        assert trigger.job_id == run.job_id
    else:
        assert operator.execute(run.context)["job_id"] == run.job_id
    assert paid_jobs(scenario) == 1


def test_a_silent_triggerer_in_a_wait_for_capacity_is_no_failure_of_an_earlier_job(scenario: SandboxServer) -> None:
    run = TaskRun(has_store=True)
    with pytest.raises(exceptions.ScenarioJobFailedError):
        generating(inputs={"prompt": "[fail]"}).execute(run.context)
    scenario.add_fault(FULL, method="POST", path="/generate/", query="dryRun", times=1)
    again = generating(inputs={"prompt": "[fail]"}, deferrable=True, max_cost=100)
    assert isinstance(deferral(again, run.retry()).trigger, ScenarioCapacityTrigger)
    with pytest.raises(airflow_exception("TaskDeferralTimeout")):
        again.resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)
    assert paid_jobs(scenario) == 1


def test_a_task_that_waited_for_capacity_does_not_wait_for_old_jobs_again(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_reader, "LIST_LAG_SECONDS", 3.0)
    scenario.add_fault(FULL, method="POST", path="/generate/", times=1)
    run = TaskRun(has_store=False)
    trigger = deferral(generating(deferrable=True), run.retry()).trigger
    assert isinstance(trigger, ScenarioCapacityTrigger)
    event = {"since": trigger.since, "searched": trigger.serialize()[1]["searched"]}
    started = time.monotonic()
    generating(wait_for_completion=False).execute_when_free(run.context, event)
    assert time.monotonic() - started < 2.9
    assert paid_jobs(scenario) == 1


@pytest.fixture
def searches_defer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_reader, "_WORKER_SECONDS", 0.0)
    monkeypatch.setattr(search, "MIN_DEFERRAL_SECONDS", 0.0)


def searching(run: TaskRun, scenario: SandboxServer, fault: str = "drop_before") -> TaskDeferred:
    """Lose the reply of one POST, or all replies of a try, and return how the search for its job defers."""
    scenario.add_fault(fault, method="POST", path="/generate/", times=1)
    empty = {"type": "status", "code": 200, "body": {"jobs": []}}
    if run.has_store:
        scenario.add_fault(empty, method="GET", path="/jobs$", times=1)
        return deferral(generating(deferrable=True), run.context)
    # Only a later try has anything to look for, once the memory of the first is gone.
    scenario.add_fault(empty, method="GET", path="/jobs$", times=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purchase, "MAX_SUBMISSIONS", 1)
        with pytest.raises(exceptions.ScenarioTransientError):
            generating(deferrable=True).execute(run.context)
    return deferral(generating(deferrable=True), run.retry())


@EITHER
@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
@pytest.mark.usefixtures("searches_defer_at_once")
def test_a_search_of_minutes_holds_no_worker_and_then_at_most_one_is_bought(
    scenario: SandboxServer, has_store: bool, fault: str
) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun(has_store=has_store)
    deferred = searching(run, scenario, fault)
    assert isinstance(deferred.trigger, ScenarioSearchTrigger)
    assert run.xcoms["scenario_purchases"]["is_searching"] is True
    with pytest.raises(TaskDeferred) as caught:
        getattr(generating(deferrable=True), deferred.method_name)(run.context, event_of(deferred))
    assert "is_searching" not in run.xcoms["scenario_purchases"]
    assert isinstance(caught.value.trigger, ScenarioJobTrigger)
    assert caught.value.trigger.job_id == run.job_id
    assert paid_jobs(scenario) == 1


@EITHER
@pytest.mark.usefixtures("searches_defer_at_once")
def test_a_silent_triggerer_in_a_search_loses_no_job(scenario: SandboxServer, has_store: bool) -> None:
    """The worker then searches itself, though a slot is held."""
    scenario.configure(job_seconds=60)
    run = TaskRun(has_store=has_store)
    assert isinstance(searching(run, scenario, "drop_after").trigger, ScenarioSearchTrigger)
    with pytest.raises(TaskDeferred) as caught:
        generating(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)
    assert isinstance(caught.value.trigger, ScenarioJobTrigger)
    assert paid_jobs(scenario) == 1


@pytest.mark.usefixtures("searches_defer_at_once")
def test_a_triggerer_that_takes_a_search_over_has_time_to_begin_anew(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_reader, "LIST_LAG_SECONDS", 180.0)
    deferred = searching(TaskRun(has_store=True), scenario)
    assert isinstance(deferred.trigger, ScenarioSearchTrigger)
    assert 179.0 < deferred.trigger.seconds <= 180.0
    assert deferred.timeout is not None
    assert deferred.timeout.total_seconds() > 350.0


@pytest.mark.usefixtures("searches_defer_at_once")
def test_a_silent_triggerer_in_a_search_hands_on_no_job_of_other_inputs(scenario: SandboxServer) -> None:
    """Airflow 3.4 threw the record away at a clear; what was found again may be another Airflow's."""
    run = TaskRun(has_store=True)
    old = generating(wait_for_completion=False).execute(run.context)["job_id"]
    run.clear()
    run.store.set("scenario_submission", {**run.record, "is_proven": False, "max_tries": run.ti.max_tries})
    context = run.retry()
    other = {"inputs": {"prompt": "A train"}, "wait_for_completion": False, "deferrable": True}
    assert isinstance(deferral(generating(**other), context).trigger, ScenarioSearchTrigger)
    result = generating(**other).resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert result["job_id"] != old


def test_a_task_that_may_not_defer_searches_in_its_worker(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_reader, "_WORKER_SECONDS", 0.0)
    scenario.add_fault("drop_before", method="POST", path="/generate/", times=1)
    assert generating(deferrable=False).execute(TaskRun(has_store=True).context)["job_id"]
    assert paid_jobs(scenario) == 1


@pytest.mark.usefixtures("searches_defer_at_once")
def test_a_search_keeps_the_tasks_place_in_the_line_for_a_slot(scenario: SandboxServer) -> None:
    run, since = TaskRun(has_store=True), time.time() - 60.0
    scenario.add_fault("drop_before", method="POST", path="/generate/", times=1)
    with pytest.raises(TaskDeferred) as caught:
        generating(deferrable=True).execute_when_free(run.context, {"since": since, "searched": None})
    assert isinstance(caught.value.trigger, ScenarioSearchTrigger)
    assert "waits" not in run.xcoms["scenario_purchases"], "it is not known whether it waits for a slot still"
    scenario.add_fault(FULL, method="POST", path="/generate/", times=1)
    event = event_of(caught.value)
    with pytest.raises(TaskDeferred) as caught:
        generating(deferrable=True).execute_after_search(run.context, event)
    assert isinstance(caught.value.trigger, ScenarioCapacityTrigger)
    assert caught.value.trigger.since == run.xcoms["scenario_purchases"]["waits"]["since"] == since
    assert paid_jobs(scenario) == 0


@EITHER
def test_a_worker_without_the_connection_says_that_the_job_is_paid_for(
    scenario: SandboxServer, has_store: bool
) -> None:
    """The triggerer could not read the job, and handed the wait over."""
    scenario.configure(job_seconds=60)
    run = TaskRun(has_store=has_store)
    assert isinstance(deferral(generating(deferrable=True), run.context).trigger, ScenarioJobTrigger)
    job_id = run.xcoms["job_id"]
    cause = exceptions.ScenarioConfigurationError("There is no connection.")
    event = WaitResult(job_id, error=no_client_error(job_id, cause, 60.0), take_over=True).to_event()
    with pytest.raises(exceptions.ScenarioTransientError, match=f"{job_id}.*\\n.*paid for") as caught:
        generating(deferrable=True, scenario_conn_id="not_there").execute_complete(run.context, event)
    assert caught.value.job_id == job_id


@EITHER
def test_a_silent_triggerer_loses_no_job(scenario: SandboxServer, has_store: bool) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun(has_store=has_store)
    deferral(generating(deferrable=True), run.context)
    scenario.finish_job(run.xcoms["job_id"])
    result = generating(deferrable=True).resume_execution("__fail__", {"error": "Trigger timeout"}, run.context)
    assert result["job_id"] == run.xcoms["job_id"]


def test_a_mistake_in_the_inputs_hides_no_paid_job(scenario: SandboxServer) -> None:
    scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    deferral(generating(deferrable=True), run.context)
    job_id = run.xcoms["job_id"]
    context = run.retry()
    with pytest.raises(exceptions.ScenarioInputError, match=f"{job_id} of this task is paid for") as caught:
        generating(inputs="no mapping").execute(context)
    assert caught.value.job_id == job_id
    assert run.xcoms["job_id"] == job_id


def test_a_wait_in_the_worker_shows_once_that_it_waits_and_once_what_was_bought(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_scenario.operators.generate._CAPACITY_PAUSE", 0.05)
    scenario.add_fault(FULL, method="POST", path="/generate/", times=5)
    run = TaskRun()
    generating(wait_for_completion=False).execute(run.context)
    # Once that it waits for a slot, and once what it bought.
    assert run.ti.pushed.count("scenario_purchases") == 2


@EITHER
def test_a_task_still_shows_that_it_waits_after_a_look_that_found_no_slot(
    scenario: SandboxServer, has_store: bool
) -> None:
    scenario.add_fault(FULL, method="POST", path="/generate/", times=2)
    run = TaskRun(has_store=has_store)
    deferral(generating(deferrable=True), run.context)
    shown = run.xcoms["scenario_purchases"]["waits"]
    event = {"since": shown["since"], "searched": "before try 1"}
    with pytest.raises(TaskDeferred):
        generating(deferrable=True).execute_when_free(run.context, event)
    assert run.xcoms["scenario_purchases"]["waits"] == shown
    generating(wait_for_completion=False).execute_when_free(run.context, event)
    assert "waits" not in run.xcoms["scenario_purchases"]


def test_a_deferral_is_one_for_capacity_only_if_scenario_says_so(scenario: SandboxServer) -> None:
    scenario.add_fault(FULL, method="POST", path="/generate/", times=1)
    with pytest.raises(TaskDeferred) as caught:
        generating(deferrable=True).execute(TaskRun().context)
    assert isinstance(caught.value.trigger, ScenarioCapacityTrigger)
    assert paid_jobs(scenario) == 0
