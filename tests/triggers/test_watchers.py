"""All triggers of a connection share one poll, and leave nothing behind when the last of them has fired."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.polling import watcher
from airflow_provider_scenario.triggers.capacity import ScenarioCapacityTrigger
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger, _watchers, watcher_of
from tests.task_run import events_of, restored

if TYPE_CHECKING:
    import pytest

    from airflow_provider_scenario.sandbox.server import SandboxServer

LIST = "GET /v1/jobs"


def waiting_for(job_id: str, **arguments: Any) -> ScenarioJobTrigger:
    now = time.time()
    stored = {"scenario_conn_id": "scenario_default", "deadline": now + 30, "poll_interval": 0.5, **arguments}
    return ScenarioJobTrigger(job_id=job_id, **stored)


def test_a_hundred_triggers_ask_as_one(scenario: SandboxServer) -> None:
    jobs = scenario.make_jobs(100)

    async def wait() -> float:
        started = time.monotonic()
        waits = [asyncio.create_task(events_of(waiting_for(job_id, since=time.time()))) for job_id in jobs]
        await asyncio.sleep(1.0)
        for job_id in jobs:
            await asyncio.to_thread(scenario.set_job, job_id, "failure")
        for job_id, wait in zip(jobs, waits, strict=True):
            ((event,),) = (await wait,)
            assert (event["job"]["job_id"], event["job"]["status"]) == (job_id, "failure")
        return time.monotonic() - started

    seconds = asyncio.run(wait())
    counts = scenario.requests()["counts"]
    assert set(counts) == {LIST}
    assert counts[LIST] <= 2 + seconds / 0.47


def test_jobs_and_slots_are_waited_for_with_one_poll(scenario: SandboxServer) -> None:
    running, ending = scenario.make_jobs(2)

    async def wait() -> None:
        now = time.time()
        slot = ScenarioCapacityTrigger(scenario_conn_id="scenario_default", since=now, deadline=now + 30, limit=1)
        job = asyncio.create_task(events_of(waiting_for(running, since=now, poll_interval=60)))
        free = asyncio.create_task(events_of(slot))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(scenario.set_job, ending, "failure")
        await asyncio.to_thread(scenario.set_job, running, "failure")
        # The look that the slot asks for tells of the job too, long before its own minute is over.
        _, (ended,) = await asyncio.wait_for(asyncio.gather(free, job), 25)
        assert ended["job"]["status"] == "failure"

    asyncio.run(wait())
    assert set(scenario.requests()["counts"]) == {LIST}


def test_connections_and_projects_are_watched_apart(scenario: SandboxServer) -> None:
    async def ask() -> None:
        one = watcher_of("scenario_default")
        assert watcher_of("scenario_default") is one
        assert watcher_of("scenario_default", "proj_2") is not one
        assert watcher_of("scenario_other") is not one

    asyncio.run(ask())


def test_an_idle_watcher_is_found_again_with_its_list(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")

    async def wait() -> None:
        await events_of(waiting_for(job_id, poll_interval=60))
        gc.collect()
        (kept,) = _watchers[asyncio.get_running_loop()].values()
        assert kept.is_idle
        del kept
        gc.collect()
        before = scenario.requests()["counts"][LIST]
        await events_of(waiting_for(job_id, poll_interval=60))
        assert scenario.requests()["counts"][LIST] == before

    asyncio.run(wait())


def test_an_idle_watcher_goes_after_some_time(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "KEEP_LIST_SECONDS", 0.2)
    (job_id,) = scenario.make_jobs(1, status="success")

    async def wait() -> None:
        await events_of(waiting_for(job_id))
        await asyncio.sleep(0.3)
        gc.collect()
        assert not _watchers[asyncio.get_running_loop()]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(wait())


def test_a_job_that_ended_while_no_triggerer_ran(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    trigger = waiting_for(job_id, since=time.time())
    scenario.set_job(job_id, "failure")
    ((event,),) = (asyncio.run(events_of(restored(trigger))),)
    assert event["job"]["status"] == "failure"


def test_what_an_older_version_stored_still_works(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    _, stored = waiting_for(job_id).serialize()
    del stored["since"]
    ((event,),) = (asyncio.run(events_of(ScenarioJobTrigger(**stored))),)
    assert event["job"]["status"] == "success"


def test_a_key_replaced_while_it_waits(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is read anew when Scenario begins to refuse the key."""
    (job_id,) = scenario.make_jobs(1)
    refusal = {"type": "status", "code": 401, "body": {"reason": "no such key"}}

    async def wait() -> list[Any]:
        waiting = asyncio.create_task(events_of(waiting_for(job_id, since=time.time())))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(scenario.add_fault, refusal, path="/v1/", times=3)
        await asyncio.to_thread(scenario.set_job, job_id, "failure")
        return await waiting

    (event,) = asyncio.run(wait())
    assert event["error"] is None
    assert event["job"]["status"] == "failure"
    assert scenario.faults()[0]["hits"] == 3
