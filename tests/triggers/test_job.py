"""The wait in the triggerer: it ends when the job does, and hardly anything else ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.exceptions import ScenarioJobUnreadableError
from airflow_provider_scenario.polling import wait
from airflow_provider_scenario.polling.wait import WaitResult
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger
from tests.task_run import events_of, restored
from tests.triggers.waiting_trigger import waiting_for, with_task

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.sandbox_fixtures import Log

CANCEL = "POST /v1/jobs/{jobId}/action"


def looks(scenario: SandboxServer) -> int:
    """Count the looks at jobs, single ones and lists of them."""
    counts: dict[str, int] = scenario.requests()["counts"]
    return sum(number for route, number in counts.items() if route.startswith("GET /v1/jobs"))


def only_event(trigger: Any) -> dict[str, Any]:
    (event,) = asyncio.run(events_of(trigger))
    return dict(event)


def test_tells_of_the_finished_job(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, seconds=0.4)
    event = only_event(waiting_for(job_id))
    assert event["job_id"] == event["job"]["job_id"] == job_id
    assert (event["job"]["status"], event["timed_out"], event["error"]) == ("success", False, None)
    assert len(event["job"]["asset_ids"]) == 1
    assert WaitResult.from_event(event).job_or_raise(1).asset_ids == tuple(event["job"]["asset_ids"])


def test_tells_of_a_failed_job(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.set_job(job_id, "failure", error="It broke.", hint="Mend it.")
    event = only_event(waiting_for(job_id))
    assert (event["job"]["status"], event["job"]["error"], event["job"]["hint"]) == ("failure", "It broke.", "Mend it.")


def test_survives_being_stored_and_made_anew(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    trigger = waiting_for(job_id, project_id=None)
    again = restored(trigger)
    assert again.serialize() == trigger.serialize()
    assert only_event(again)["job"]["status"] == "success"


def test_the_first_look_comes_late(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's scheduler marks a task failed whose trigger fires at once."""
    assert wait.MIN_DEFERRAL_SECONDS >= 8
    monkeypatch.setattr("airflow_provider_scenario.triggers.job.MIN_DEFERRAL_SECONDS", 0.5)
    (job_id,) = scenario.make_jobs(1, status="success")
    started = time.monotonic()
    only_event(waiting_for(job_id, seconds=-100))
    assert time.monotonic() - started >= 0.5


def test_goes_on_where_another_triggerer_stopped(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    first = waiting_for(job_id)

    async def stopped() -> None:
        task = asyncio.create_task(events_of(first))
        await asyncio.sleep(0.3)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert looks(scenario) >= 2
    scenario.set_job(job_id, "success")
    assert only_event(restored(first))["job"]["status"] == "success"
    assert CANCEL not in scenario.requests()["counts"]


@pytest.mark.parametrize(
    "fault",
    [
        "status",
        "drop_before",
        "cut_body",
        {"type": "status", "code": 429, "headers": {"Retry-After": "0"}},
        {"type": "status", "code": 200, "body": "<html>Sign in</html>"},
        {"type": "status", "code": 408},
    ],
)
def test_a_burst_of_errors_does_not_end_the_wait(scenario: SandboxServer, log: Log, fault: Any) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    scenario.add_fault(fault, path="/v1/jobs", times=7)
    assert only_event(waiting_for(job_id))["job"]["status"] == "success"
    assert scenario.faults()[0]["hits"] == 7
    assert "does not end the wait" in log.text


def test_scenario_out_of_reach_does_not_end_the_wait(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """The connection is refused until somebody listens at its port: then its traffic goes on to the sandbox."""
    (job_id,) = scenario.make_jobs(1, status="success")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = int(re.findall(r":(\d+)/", scenario.base_url)[0])
    moved = {**scenario.connection(), "host": scenario.base_url.replace(f":{there}", f":{port}")}
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(moved))

    async def relay(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", there)
        await asyncio.gather(relay(reader, behind_writer), relay(behind_reader, writer))

    async def refused_for_a_while() -> list[Any]:
        wait = asyncio.create_task(events_of(waiting_for(job_id)))
        await asyncio.sleep(0.8)
        assert not wait.done()
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        events = await wait
        server.close()
        return events

    (event,) = asyncio.run(refused_for_a_while())
    assert event["job"]["status"] == "success"
    assert "could not be reached" in log.text


PAGE = "<!doctype html><html><title>Sign in</title><h1>The gateway lets nothing through for now.</h1></html>"
REFUSALS = {
    f"{code} {kind}": {"type": "status", "code": code, "body": body, "headers": {"Location": "/sign-in"}}
    for code in (302, 400, 401, 403, 404)
    for kind, body in (("json", {"reason": "not now"}), ("html", PAGE))
}
every_refusal = pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))


def without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SCENARIO_DEFAULT")
    for name in ("SCENARIO_SDK_API_KEY", "SCENARIO_SDK_API_SECRET"):
        monkeypatch.delenv(name, raising=False)


@every_refusal
def test_a_refusal_right_after_the_start_does_not_end_the_wait(scenario: SandboxServer, refusal: Any) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    scenario.add_fault(refusal, path="/v1/jobs", times=3)
    assert only_event(waiting_for(job_id))["job"]["status"] == "success"
    assert scenario.faults()[0]["hits"] == 3


@every_refusal
def test_a_job_that_the_list_shows_is_waited_for(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, refusal: Any
) -> None:
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.3)
    (job_id,) = scenario.make_jobs(1, seconds=1.0)
    scenario.add_fault(refusal, path="/v1/jobs/", times=None)
    assert only_event(waiting_for(job_id))["job"]["status"] == "success"


@every_refusal
def test_a_refusal_of_everything_that_lasts_keeps_the_retries(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, refusal: Any
) -> None:
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.4)
    (job_id,) = scenario.make_jobs(1)
    scenario.add_fault(refusal, path="/v1/jobs", times=None)
    started = time.monotonic()
    result = WaitResult.from_event(only_event(waiting_for(job_id)))
    assert time.monotonic() - started >= 0.4
    assert not result.take_over
    with pytest.raises(ScenarioJobUnreadableError, match=rf"{job_id} can't be read.*is paid for.*pays nothing"):
        result.job_or_raise(1)


def test_a_refused_key_keeps_the_retries(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.4)
    (job_id,) = scenario.make_jobs(1)
    wrong = {**scenario.connection(), "password": "not-the-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", json.dumps(wrong))
    event = only_event(waiting_for(job_id))
    assert event["error"]["type"] == "ScenarioJobUnreadableError"
    assert "Check the login" in event["error"]["message"]
    assert event["job_id"] == job_id
    assert "not-the-secret" not in json.dumps(event)


def test_a_connection_that_only_the_workers_have_hands_the_wait_over(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_connection(monkeypatch)
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.4)
    event = only_event(waiting_for("job_x"))
    assert event["take_over"] is True
    for words in ("The triggerer can't read job job_x", "There is no connection scenario_default", "workers only"):
        assert words in event["error"]["message"]


def test_a_connection_that_is_out_for_a_moment_does_not_end_the_wait(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    without_a_connection(monkeypatch)
    connection = scenario.connection_json()

    async def found_again() -> list[Any]:
        waiting = asyncio.create_task(events_of(waiting_for(job_id)))
        await asyncio.sleep(0.6)
        assert not waiting.done()
        monkeypatch.setenv("AIRFLOW_CONN_SCENARIO_DEFAULT", connection)
        return await waiting

    (event,) = asyncio.run(found_again())
    assert event["job"]["status"] == "success"


def test_a_job_that_stays_unknown_ends_the_wait(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "REFUSED_FOR", 0.4)
    started = time.monotonic()
    event = only_event(waiting_for("job_nowhere"))
    assert time.monotonic() - started >= 0.4
    assert event["error"]["type"] == "ScenarioJobUnreadableError"
    assert "job_nowhere" in event["error"]["message"]


@pytest.mark.parametrize("seconds", [30.0, 0.0])
def test_outputs_that_come_late_are_waited_for(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch, log: Log, seconds: float
) -> None:
    monkeypatch.setattr("airflow_provider_scenario.triggers.job.OUTPUTS_PAUSE", 0.1)
    (job_id,) = scenario.make_jobs(1, status="success")
    job = {"jobId": job_id, "status": "success", "progress": 1, "metadata": {}}
    bare = {"type": "status", "code": 200, "body": {"job": job, "jobs": [job]}}
    scenario.add_fault(bare, path="/v1/jobs", times=3)
    result = WaitResult.from_event(only_event(waiting_for(job_id, seconds=seconds)))
    assert result.has_outputs
    assert "outputs are not shown yet" in log.text


def test_no_job_is_cancelled_when_the_task_is_ended() -> None:
    """Scenario cancels no job that was bought by this package: it runs on, and the next try finds it."""
    assert "on_kill" not in ScenarioJobTrigger.__dict__


def test_a_job_that_is_unknown_at_first_is_waited_for(scenario: SandboxServer) -> None:
    scenario.configure(not_found_seconds=0.5)
    (job_id,) = scenario.make_jobs(1, status="success")
    assert only_event(waiting_for(job_id))["job"]["status"] == "success"


def test_gives_up_at_the_deadline(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    started = time.time()
    event = only_event(waiting_for(job_id, seconds=0.6))
    assert 0.5 <= time.time() - started < 20
    assert (event["timed_out"], event["job"]["status"], event["error"]) == (True, "in-progress", None)


def test_looks_a_last_time_at_the_deadline(scenario: SandboxServer) -> None:
    """A pause longer than the time left is cut short: a job that ends in it still counts."""
    (job_id,) = scenario.make_jobs(1, seconds=0.5)
    started = time.time()
    event = only_event(waiting_for(job_id, seconds=1.0, poll_interval=60))
    assert time.time() - started < 20
    assert (event["timed_out"], event["job"]["status"]) == (False, "success")


def test_looks_even_if_the_deadline_passed_before_it_started(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    assert only_event(waiting_for(job_id, seconds=-1000))["job"]["status"] == "success"


def test_gives_up_at_the_deadline_though_nothing_can_be_read(scenario: SandboxServer) -> None:
    (job_id,) = scenario.make_jobs(1)
    scenario.add_fault("status", path="/v1/jobs", times=None)
    event = only_event(waiting_for(job_id, seconds=0.4))
    assert (event["timed_out"], event["job"]) == (True, None)


def test_an_unknown_status_is_waited_on(scenario: SandboxServer, log: Log) -> None:
    (job_id,) = scenario.make_jobs(1, status="success")
    job = {"jobId": job_id, "status": "polishing", "progress": 0.5}
    odd = {"job": job, "jobs": [job]}  # Whether it is asked for singly or in a list.
    scenario.add_fault({"type": "status", "code": 200, "body": odd}, path="/v1/jobs", times=2)
    assert only_event(waiting_for(job_id))["job"]["status"] == "success"
    assert "has a status this provider does not know" in log.text
    assert "polishing" in log.text


def test_pushes_progress_where_airflow_takes_it(scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[dict[str, Any]] = []

    async def push(**row: Any) -> None:
        pushed.append(row)

    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom.aset", push, raising=False)
    monkeypatch.setattr("airflow_provider_scenario.polling.progress.PUSH_BURST", 100)  # A job of a second is no job.
    (job_id,) = scenario.make_jobs(1, seconds=1.0)
    only_event(with_task(waiting_for(job_id), map_index=3))
    assert {(row["key"], row["task_id"], row["map_index"]) for row in pushed} == {("progress", "generate", 3)}
    percents = [row["value"]["percent"] for row in pushed]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert 3 <= len(percents) <= 15


def test_progress_that_can_not_be_pushed_does_not_end_the_wait(
    scenario: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(**_: Any) -> None:
        raise RuntimeError("no such route")

    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom.aset", refuse, raising=False)
    (job_id,) = scenario.make_jobs(1, status="success")
    assert only_event(with_task(waiting_for(job_id)))["job"]["status"] == "success"


def test_never_blocks_the_event_loop(scenario: SandboxServer) -> None:
    jobs = scenario.make_jobs(5, seconds=0.6)
    only_event(waiting_for(jobs[0]))  # What is imported at first use is imported now.

    async def longest_gap() -> float:
        waits = [asyncio.create_task(events_of(waiting_for(job_id))) for job_id in jobs]
        longest = 0.0
        while not all(wait.done() for wait in waits):
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)
        assert [(await wait)[0]["job"]["status"] for wait in waits] == ["success"] * 5
        return longest

    # A loaded machine makes gaps of its own: blocking code makes them every time.
    assert any(asyncio.run(longest_gap()) < 0.05 for _ in range(20))
