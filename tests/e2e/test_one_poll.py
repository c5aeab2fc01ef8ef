"""Many tasks wait in one triggerer of a real Airflow, and Scenario is asked as if they were one.

Forty of them in `make test`, two hundred in `make load`.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.polling import POLL_INTERVAL
from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.e2e.airflow_api import FINISHED
from tests.e2e.dags.sizes import FROM_TRIGGER, FROM_WORKER

if TYPE_CHECKING:
    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

DAG_ID, CONNECTION = "many_wait", "scenario_watched"
JOBS = FROM_TRIGGER + FROM_WORKER
PAGES = -(-JOBS // 100)
STEADY_SECONDS = 25.0
TICK = POLL_INTERVAL
START_SECONDS, END_SECONDS = 300.0, 400.0
LIST, SINGLE = "GET /v1/jobs", "GET /v1/jobs/{jobId}"


@dataclass
class Story:
    """What was seen: the requests of each part of the run, how long it lasted, and what it left."""

    starting: Counter[str]
    waiting: Counter[str]
    ending: Counter[str]
    seconds_to_start: float
    seconds_to_end: float
    jobs: list[str]
    instances: list[dict[str, Any]]
    state: str
    run_id: str


def counts(sandbox: SandboxServer) -> Counter[str]:
    return Counter(sandbox.requests()["counts"])


def begin(place: Place) -> Story:
    """Let all wait, end their jobs, and see the run end."""
    airflow, sandbox = place.airflow, place.stack.enter_context(SandboxServer(render="tiny"))
    airflow.api("POST", "connections", {**sandbox.connection(), "connection_id": CONNECTION})
    airflow.wait_for_dag(DAG_ID)
    jobs = sandbox.make_jobs(JOBS)
    started = time.monotonic()
    run_id = airflow.trigger(DAG_ID, {"jobs": jobs, "connection": CONNECTION})
    all_wait(airflow, run_id)
    time.sleep(2 * TICK)  # The last of them has come to its first look, and the watcher to its pace.
    asked_before = counts(sandbox)
    seconds_to_start = time.monotonic() - started
    time.sleep(STEADY_SECONDS)
    asked = counts(sandbox)
    ended = time.monotonic()
    for job_id in jobs:
        sandbox.set_job(job_id)
    run = all_are_over(airflow, run_id)
    return Story(
        starting=asked_before,
        waiting=asked - asked_before,
        ending=counts(sandbox) - asked,
        seconds_to_start=seconds_to_start,
        seconds_to_end=time.monotonic() - ended,
        jobs=jobs,
        instances=airflow.task_instances(DAG_ID, run_id),
        state=run["state"],
        run_id=run_id,
    )


@pytest.fixture(scope="module")
def story(begun_on_busy: Begun) -> Story:
    told: Story = begun_on_busy[__name__].result()
    return told


def all_wait(airflow: AirflowServer, run_id: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (states := airflow.states(DAG_ID, run_id)[1]) != {"deferred": JOBS} or triggers(airflow) < JOBS:
        assert time.monotonic() < deadline, (states, triggers(airflow))
        time.sleep(1.0)


def triggers(airflow: AirflowServer) -> int:
    """How many triggers have begun: each writes a log."""
    return len(list((airflow.home / "logs" / f"dag_id={DAG_ID}").rglob("*.trigger.*.log")))


def all_are_over(airflow: AirflowServer, run_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + END_SECONDS
    while (run := airflow.run(DAG_ID, run_id))["state"] not in FINISHED:
        assert time.monotonic() < deadline, run
        time.sleep(1.0)
    return run


def test_all_end_well_at_their_first_try(story: Story) -> None:
    assert story.state == "success"
    ended = Counter((each["state"], each["try_number"]) for each in story.instances)
    assert ended.total() == JOBS
    assert {state for state, _ in ended} == {"success"}
    assert max(number for _, number in ended) <= 1


def test_each_returns_its_own_job(story: Story, busy_airflow: AirflowServer) -> None:
    for place in (0, 7, FROM_TRIGGER - 1):
        result = busy_airflow.xcom(DAG_ID, story.run_id, f"wait_{place:03d}", "return_value")
        assert result["job_id"] == story.jobs[place]
        assert result["asset_id"]
    mapped = busy_airflow.xcom(DAG_ID, story.run_id, "wait_mapped", "return_value", 3)
    assert mapped["job_id"] == story.jobs[FROM_TRIGGER + 3]


def test_no_worker_had_a_part_in_who_started_in_the_triggerer(story: Story) -> None:
    from_trigger = [each for each in story.instances if each["map_index"] < 0]
    assert len(from_trigger) == FROM_TRIGGER
    assert all(each["pid"] is None for each in from_trigger)


def test_while_they_wait_there_is_one_request_a_tick(story: Story) -> None:
    assert set(story.waiting) == {LIST}
    assert 1 <= story.waiting[LIST] <= STEADY_SECONDS / TICK + 2


def test_who_begins_to_wait_is_not_asked_for_singly(story: Story) -> None:
    """A sensor in a worker looks once before it defers; the rest comes by the list, in pages of a hundred."""
    assert story.starting[SINGLE] <= FROM_WORKER + 5
    assert story.starting[LIST] <= (1 + PAGES) * (story.seconds_to_start / TICK + 2)


def test_all_endings_come_by_the_list(story: Story) -> None:
    assert story.ending[SINGLE] == 0
    assert story.ending[LIST] <= (1 + PAGES) * (story.seconds_to_end / TICK + 2)
