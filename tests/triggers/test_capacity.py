"""The wait for a slot in the triggerer: one queue a connection, woken when a job ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from airflow_provider_scenario.polling import capacity_queue
from airflow_provider_scenario.triggers import capacity
from airflow_provider_scenario.triggers.capacity import ScenarioCapacityTrigger
from tests.task_run import events_of, restored

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

LIST = "GET /v1/jobs"


@pytest.fixture(autouse=True)
def short_ticks(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        capacity_queue.CapacityQueue.__init__, "__kwdefaults__", {"poll_interval": 0.1, "clock": time.time}
    )
    monkeypatch.setattr(ScenarioCapacityTrigger, "_queues", WeakKeyDictionary())


def queueing(*, since: float | None = None, seconds: float = 30.0, **arguments: Any) -> ScenarioCapacityTrigger:
    now = time.time()
    return ScenarioCapacityTrigger(
        **{
            "scenario_conn_id": "scenario_default",
            "since": now if since is None else since,
            "deadline": now + seconds,
            "limit": 1,
            **arguments,
        }
    )


def test_is_stored_as_ids_and_numbers(scenario: SandboxServer) -> None:
    trigger = queueing(project_id="proj_x", limit=3, retry_after=20.0)
    path, stored = trigger.serialize()
    assert path == "airflow_provider_scenario.triggers.capacity.ScenarioCapacityTrigger"
    assert set(stored) == {"scenario_conn_id", "project_id", "since", "deadline", "limit", "retry_after", "searched"}
    assert restored(trigger).serialize() == trigger.serialize()
    assert "http" not in json.dumps(stored)


def test_is_woken_when_a_job_ends(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)

    async def wait() -> tuple[list[Any], float]:
        waiting = asyncio.create_task(events_of(queueing(since=123.0)))
        await asyncio.sleep(0.6)
        assert not waiting.done()
        ended = time.monotonic()
        await asyncio.to_thread(scenario.set_job, job_id, "success")
        return await waiting, time.monotonic() - ended

    events, seconds = asyncio.run(wait())
    assert events == [{"since": 123.0, "searched": None}]
    assert seconds < 8


def test_first_come_first_served_with_one_look_a_tick(scenario: SandboxServer) -> None:
    jobs = scenario.make_jobs(6)
    now = time.time()
    order: list[float] = []

    async def one(since: float) -> None:
        await events_of(queueing(since=since, limit=6))
        order.append(since)

    async def all_of_them() -> None:
        waits = [asyncio.create_task(one(now - place)) for place in (3, 1, 5, 2, 4, 0)]
        await asyncio.sleep(0.4)
        for job_id in jobs:
            await asyncio.to_thread(scenario.set_job, job_id, "success")
            await asyncio.sleep(0.25)
        await asyncio.gather(*waits)

    started = time.monotonic()
    asyncio.run(all_of_them())
    ticks = (time.monotonic() - started) / 0.09
    assert order == sorted(order)
    assert scenario.requests()["counts"][LIST] <= ticks + 2


def test_a_cooldown_is_slept_through_without_a_request(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity.random, "uniform", lambda low, high: low)
    started = time.monotonic()
    trigger = queueing(retry_after=0.6)
    asyncio.run(events_of(trigger))
    assert 0.55 <= time.monotonic() - started < 10
    assert time.time() < trigger.deadline
    assert scenario.requests()["counts"] == {}


def test_fires_at_the_deadline(scenario: SandboxServer) -> None:
    scenario.make_jobs(1)
    started = time.monotonic()
    (event,) = asyncio.run(events_of(queueing(since=1.0, seconds=0.5)))
    assert 0.4 <= time.monotonic() - started < 10
    assert event == {"since": 1.0, "searched": None}


def test_a_deadline_in_the_past_still_waits_for_the_first_look(scenario: SandboxServer) -> None:
    started = time.monotonic()
    asyncio.run(events_of(queueing(seconds=-100)))
    assert time.monotonic() - started >= 0.05


def test_a_list_that_can_not_be_read_keeps_the_queue(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.add_fault("status", method="GET", path="/jobs$", times=6)

    trigger = queueing()

    async def wait() -> list[Any]:
        waiting = asyncio.create_task(events_of(trigger))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(scenario.set_job, job_id, "success")
        return await waiting

    asyncio.run(wait())
    assert time.time() < trigger.deadline
    assert scenario.faults()[0]["hits"] == 6


def test_reads_past_short_and_empty_pages(scenario: SandboxServer) -> None:
    scenario.configure(empty_pages=1, short_pages=True)
    (job_id,) = scenario.make_jobs(1)
    scenario.set_job(job_id, "success")
    scenario.make_jobs(150)
    trigger = queueing()
    asyncio.run(events_of(trigger))
    assert time.time() < trigger.deadline


def test_nothing_is_left_running(scenario: SandboxServer) -> None:
    scenario.make_jobs(1)

    async def stopped() -> int:
        waits = [asyncio.create_task(events_of(queueing())) for _ in range(3)]
        await asyncio.sleep(0.3)
        for wait in waits:
            wait.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await wait
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(stopped()) == 1


def test_a_wait_of_years_is_an_hour() -> None:
    trigger = queueing(retry_after=315_360_000.0)
    assert trigger.serialize()[1]["retry_after"] == 3600.0
