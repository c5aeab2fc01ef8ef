"""A trigger that is ended from outside: it asks to cancel its job only if a person really ended the task."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import TriggerEvent

from tests.triggers.waiting_trigger import waiting_for, with_task

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.quick_scenario import Log

CANCEL = "POST /v1/jobs/{jobId}/action"


def airflow_says(monkeypatch: pytest.MonkeyPatch, state: str | None, key: str = "generate") -> None:
    def get_task_states(**asked: Any) -> dict[str, dict[str, str | None]]:
        assert (asked["dag_id"], asked["task_ids"], asked["run_ids"]) == ("nightly", ["generate"], ["run_1"])
        return {"run_1": {key: state}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)


def finished_job(scenario: SandboxServer) -> str:
    """A job that has succeeded; its video takes the sandbox a moment."""
    (job_id,) = scenario.make_jobs(1, status="success")
    deadline = time.monotonic() + 30.0
    while scenario.set_job(job_id)["status"] != "success":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job_id


@pytest.mark.parametrize("state", ["failed", "success", "skipped"])
def test_a_task_that_a_person_ended_asks_to_cancel(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log, state: str
) -> None:
    (job_id,) = scenario.make_jobs(1)
    airflow_says(monkeypatch, state)
    asyncio.run(with_task(waiting_for(job_id)).on_kill())
    assert scenario.requests()["counts"][CANCEL] == 1
    assert f"Job {job_id} runs on and is charged" in log.text
    assert "Cannot cancel this type of job" in log.text


@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "restarting", "up_for_retry", None])
def test_a_task_that_goes_on_keeps_its_job(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    """Moved to another triggerer, or cleared: somebody still waits for the job, or will."""
    (job_id,) = scenario.make_jobs(1)
    airflow_says(monkeypatch, state)
    asyncio.run(with_task(waiting_for(job_id)).on_kill())
    assert CANCEL not in scenario.requests()["counts"]


def test_of_mapped_tasks_the_own_instance_counts(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = scenario.make_jobs(1)
    airflow_says(monkeypatch, "failed", key="generate_3")
    asyncio.run(with_task(waiting_for(job_id), map_index=4).on_kill())
    assert CANCEL not in scenario.requests()["counts"]
    asyncio.run(with_task(waiting_for(job_id), map_index=3).on_kill())
    assert scenario.requests()["counts"][CANCEL] == 1


def test_in_doubt_the_job_is_left_alone(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("no such message")

    (job_id,) = scenario.make_jobs(1)
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", refuse)
    asyncio.run(with_task(waiting_for(job_id)).on_kill())
    assert CANCEL not in scenario.requests()["counts"]
    assert f"job {job_id} is left alone" in log.text


def test_cancel_on_kill_can_be_turned_off(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = scenario.make_jobs(1)
    airflow_says(monkeypatch, "failed")
    asyncio.run(with_task(waiting_for(job_id, cancel_on_kill=False)).on_kill())
    assert CANCEL not in scenario.requests()["counts"]


def test_nothing_is_cancelled_once_it_has_fired(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    airflow_says(monkeypatch, "success")
    trigger = with_task(waiting_for(job_id))

    async def killed_with_the_event_in_hand() -> None:
        run = trigger.run()
        event = await anext(run)
        assert isinstance(event, TriggerEvent)
        await trigger.on_kill()
        await run.aclose()  # type: ignore[attr-defined]

    asyncio.run(killed_with_the_event_in_hand())
    assert CANCEL not in scenario.requests()["counts"]


def test_a_cancel_survives_that_airflow_cancels_the_trigger_again(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """Airflow does so every second while ``on_kill`` runs."""
    (job_id,) = scenario.make_jobs(1)
    scenario.add_fault({"type": "delay", "seconds": 0.5}, path="/action")
    airflow_says(monkeypatch, "failed")

    async def killed_again_and_again() -> None:
        kill = asyncio.create_task(with_task(waiting_for(job_id)).on_kill())
        while not kill.done():
            await asyncio.sleep(0.05)
            kill.cancel()

    asyncio.run(killed_again_and_again())
    assert scenario.requests()["counts"][CANCEL] == 1
    assert f"Job {job_id} runs on and is charged" in log.text


def test_a_finished_job_is_not_cancelled(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """A triggerer that stalled hears late that its task has ended elsewhere, with its job."""
    airflow_says(monkeypatch, "success")
    asyncio.run(with_task(waiting_for(finished_job(scenario))).on_kill())
    assert CANCEL not in scenario.requests()["counts"]
    assert "charged" not in log.text


def test_a_cancel_that_works_is_said(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    (job_id,) = scenario.make_jobs(1)
    canceled = {"job": {"jobId": job_id, "status": "canceled"}}
    scenario.add_fault({"type": "status", "code": 200, "body": canceled}, path="/action")
    airflow_says(monkeypatch, "failed")
    asyncio.run(with_task(waiting_for(job_id)).on_kill())
    assert f"Scenario was asked to cancel job {job_id}" in log.text


def test_a_cancel_out_of_reach_is_said(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.add_fault("drop_before", path="/action", times=None)
    airflow_says(monkeypatch, "failed")
    asyncio.run(with_task(waiting_for(job_id)).on_kill())
    assert f"Job {job_id} could not be cancelled and may run on, charged" in log.text


def test_a_cancel_that_hangs_is_given_up(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.add_fault("hang", path="/action", times=None)
    monkeypatch.setattr("airflow_provider_scenario.triggers.job._CANCEL_TIMEOUT", 0.3)
    airflow_says(monkeypatch, "failed")
    started = time.monotonic()
    asyncio.run(with_task(waiting_for(job_id)).on_kill())
    assert time.monotonic() - started < 3
    assert f"Job {job_id} could not be cancelled and may run on" in log.text
