"""Many mapped tasks that ask for the same thing: some whose workers die, and others that share two slots.

Twelve each in `make test`, forty and sixty in `make load`. No slot comes free before all but the two
that found one wait, so that what is seen does not hang on how fast a machine is. Then both runs go on at once.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.e2e.dags.sizes import CRASHING, QUEUEING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.airflow_server import AirflowServer

pytestmark = pytest.mark.e2e

CRASHING_DAG, QUEUEING_DAG = "many_crashes", "many_in_a_queue"
RUN_SECONDS = 420.0
LOOK_SECONDS = 1.5
SLOTS = 2
JOB_SECONDS = 0.5
NEVER = 3600.0
FINISHED = {"success", "failed", "upstream_failed"}
HOLDS_A_REPLY = {"type": "delay", "when": "after", "seconds": 1.0}


@dataclass
class Story:
    """What was seen of one run: its states at every look, and what it left."""

    dag_id: str
    sandbox: SandboxServer
    run_id: str = ""
    state: str | None = None
    looks: list[Counter[str]] = field(default_factory=list)
    instances: list[dict[str, Any]] = field(default_factory=list)
    ended_by_scheduler: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: float = 0.0

    def start(self, airflow: AirflowServer, **conf: str) -> None:
        airflow.wait_for_dag(self.dag_id)
        self.run_id = airflow.trigger(self.dag_id, conf)
        self.seconds = time.monotonic()

    def look(self, airflow: AirflowServer) -> bool:
        """Look once; whether the run has ended."""
        if self.state in FINISHED:
            return True
        self.state, states = airflow.states(self.dag_id, self.run_id)
        self.looks.append(states)
        if self.state in FINISHED:
            self.instances = airflow.task_instances(self.dag_id, self.run_id)
            self.ended_by_scheduler = airflow.ended_by_scheduler(self.dag_id, self.run_id)
            self.seconds = time.monotonic() - self.seconds
        return self.state in FINISHED

    def unexplained_tries(self, needed: int) -> list[dict[str, Any]]:
        """The instances with fewer tries than needed, or with more than that and what Airflow's log accounts for."""
        return [
            each
            for each in self.instances
            if not 0 <= each["try_number"] - needed <= self.ended_by_scheduler[(each["task_id"], each["map_index"])]
        ]

    def xcoms(self, airflow: AirflowServer, key: str) -> list[Any]:
        return [
            airflow.xcom(self.dag_id, self.run_id, "buy", key, each["map_index"], default=None)
            for each in self.instances
        ]

    def paid(self) -> list[dict[str, Any]]:
        return list(self.sandbox.ledger()["entries"])


@dataclass
class Stories:
    """The two runs."""

    crashing: Story
    queueing: Story
    marks: Path


@pytest.fixture(scope="module")
def stories(busy_airflow: AirflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    with (
        SandboxServer(render="tiny", job_seconds=3, parallel_jobs=1000) as roomy,
        SandboxServer(render="tiny", job_seconds=NEVER, parallel_jobs=SLOTS) as narrow,
    ):
        roomy.add_fault(HOLDS_A_REPLY, method="POST", path="/generate/", times=None)
        for name, sandbox in (("roomy", roomy), ("narrow", narrow)):
            connection = {**sandbox.connection(), "connection_id": f"scenario_{name}"}
            busy_airflow.api("POST", "connections", connection)
        told = Stories(Story(CRASHING_DAG, roomy), Story(QUEUEING_DAG, narrow), tmp_path_factory.mktemp("crashes"))
        told.queueing.start(busy_airflow, connection="scenario_narrow")
        deadline = time.monotonic() + RUN_SECONDS
        over = False
        while not over:
            over = told.queueing.look(busy_airflow)
            if told.crashing.run_id:
                over = told.crashing.look(busy_airflow) and over
            elif all_wait(told.queueing.looks[-1]):
                let_go(narrow)
                told.crashing.start(busy_airflow, connection="scenario_roomy", crash_folder=str(told.marks))
            if time.monotonic() > deadline:
                raise TimeoutError(f"{told.queueing.looks[-1]} {told.crashing.looks[-1:]}")
            time.sleep(LOOK_SECONDS)
        yield told
        for name in ("roomy", "narrow"):
            busy_airflow.api("DELETE", f"connections/scenario_{name}")


def let_go(sandbox: SandboxServer) -> None:
    """Let the jobs that hold the slots end, and those that follow them end soon."""
    sandbox.configure(job_seconds=JOB_SECONDS)
    for entry in sandbox.ledger()["entries"]:
        sandbox.set_job(entry["jobId"])


def all_wait(states: Counter[str]) -> bool:
    """Whether every task that found no slot has come to its first wait."""
    return states == {"success": SLOTS, "deferred": QUEUEING - SLOTS}


# Those that crash


def test_all_that_crash_end_well(stories: Stories) -> None:
    story = stories.crashing
    assert story.state == "success", story.looks[-1]
    assert len(story.instances) == CRASHING
    assert story.unexplained_tries(2) == [], "each crashed once, and no more was needed"
    assert len(list(stories.marks.glob("*/*"))) == CRASHING


def test_all_that_crash_pay_once_each(stories: Stories) -> None:
    story = stories.crashing
    assert len(story.paid()) == CRASHING


def test_none_of_them_adopts_another_ones_job(stories: Stories, busy_airflow: AirflowServer) -> None:
    story = stories.crashing
    results = story.xcoms(busy_airflow, "return_value")
    assert len({made["asset_id"] for made in results}) == CRASHING
    assert {made["job_id"] for made in results} == {entry["jobId"] for entry in story.paid()}
    assert story.xcoms(busy_airflow, "job_id") == [made["job_id"] for made in results]
    seeds = {entry["jobId"]: entry["inputs"]["seed"] for entry in story.paid()}
    for instance, made in zip(story.instances, results, strict=True):
        place = (CRASHING_DAG, story.run_id, "buy", instance["map_index"])
        record = busy_airflow.task_state(*place)["scenario_submission"]
        assert record["job_id"] == made["job_id"]
        assert record["seed"] == made["seed"] == seeds[made["job_id"]]
        assert record["generation"] == 1


# Those on two slots


def test_all_on_two_slots_succeed_at_their_first_try(stories: Stories, busy_airflow: AirflowServer) -> None:
    story = stories.queueing
    assert story.state == "success", story.looks[-1]
    assert Counter(each["state"] for each in story.instances) == {"success": QUEUEING}
    assert story.unexplained_tries(1) == []
    assert len(story.paid()) == QUEUEING
    assert len(set(story.xcoms(busy_airflow, "job_id"))) == QUEUEING


def test_who_waits_for_a_slot_holds_no_worker(stories: Stories) -> None:
    """From the look on at which the last of those without a slot has come to its first wait."""
    looks = stories.queueing.looks
    queue = looks[next(number for number, states in enumerate(looks) if all_wait(states)) :]
    not_waiting = sum(states.total() - states["success"] - states["deferred"] for states in queue)
    assert not_waiting / len(queue) < 3 * SLOTS, "only who follows a job that has ended is on its way to a worker"
    assert sum(states["running"] for states in queue) / len(queue) < 2 * SLOTS


def test_a_slot_is_asked_for_only_when_one_may_be_free(stories: Stories) -> None:
    story = stories.queueing
    answers = Counter(
        visit["status"]
        for visit in story.sandbox.requests()["recent"]
        if visit["method"] == "POST" and "/generate/" in visit["path"]
    )
    assert answers[200] == QUEUEING
    assert answers[429] <= 2 * answers[200]
    # Nobody knows beforehand that there is no slot: that costs each task one 429. A second one is a vain call.
    assert answers[429] - QUEUEING <= QUEUEING / 3


def test_a_free_slot_is_not_left_idle(stories: Stories) -> None:
    """A job that ends is soon followed by the next: many jobs on two slots take little longer than Airflow needs."""
    accepted = [
        visit["time"]
        for visit in stories.queueing.sandbox.requests()["recent"]
        if visit["method"] == "POST" and visit["status"] == 200
    ][SLOTS:]
    queued = [later - earlier for earlier, later in zip(accepted, accepted[SLOTS:], strict=False)]
    median = sorted(queued)[len(queued) // 2]
    assert median < 8.0
