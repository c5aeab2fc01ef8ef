"""Many mapped tasks that ask for the same thing: some that share two slots, and others whose workers die.

Twelve each in `make test`, sixty and forty in `make load`. Those on two slots have the Airflow for themselves, since it
is measured how soon a free slot is used. No slot comes free before all but the two that found one wait, so that what is
seen does not hang on how fast a machine is. Those that crash go on beside the other files' runs.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.e2e.dags.sizes import CRASHING, QUEUEING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

CRASHING_DAG, QUEUEING_DAG = "many_crashes", "many_in_a_queue"
RUN_SECONDS = 600.0
LOOK_SECONDS = 1.5
WOKEN = "Trigger fired event"
"""How the triggerer's log begins to tell that a wait is over."""
SLOTS = 2
JOB_SECONDS = 0.5
NEVER = 3600.0
FINISHED = {"success", "failed", "upstream_failed"}
HOLDS_A_REPLY = {"type": "delay", "when": "after", "seconds": 1.0}


@dataclass
class Story:
    """What was seen of one run: its states at every look, and what it left.

    :param marks: Where its workers leave a mark for each time they die.
    """

    dag_id: str
    sandbox: SandboxServer
    marks: Path
    run_id: str = ""
    state: str | None = None
    looks: list[Counter[str]] = field(default_factory=list)
    instances: list[dict[str, Any]] = field(default_factory=list)
    ended_by_scheduler: Counter[tuple[str, int]] = field(default_factory=Counter)

    def start(self, airflow: AirflowServer, connection: str, **conf: str) -> None:
        """Start the run, connected to its Scenario."""
        airflow.api("POST", "connections", {**self.sandbox.connection(), "connection_id": connection})
        airflow.wait_for_dag(self.dag_id)
        self.run_id = airflow.trigger(self.dag_id, {"connection": connection, **conf})

    def look_until(self, airflow: AirflowServer, is_enough: Callable[[Counter[str]], bool]) -> None:
        """Look again and again until the states are such, or the run has ended."""
        deadline = time.monotonic() + RUN_SECONDS
        while self.state not in FINISHED:
            self.state, states = airflow.states(self.dag_id, self.run_id)
            self.looks.append(states)
            if is_enough(states):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.dag_id} is {self.state} after {RUN_SECONDS:.0f} s: {states}")
            time.sleep(LOOK_SECONDS)

    def see_its_end(self, airflow: AirflowServer) -> None:
        """Look until the run has ended, and keep what it left."""
        self.look_until(airflow, lambda states: False)
        self.instances = airflow.task_instances(self.dag_id, self.run_id)
        self.ended_by_scheduler = airflow.ended_by_scheduler(self.dag_id, self.run_id)

    def deaths(self, instance: dict[str, Any]) -> int:
        """How often the workers of an instance died as ordered."""
        return len(list((self.marks / str(instance["map_index"])).glob("*")))

    def excused(self, instance: dict[str, Any]) -> int:
        """How many tries of an instance Airflow's log accounts for."""
        return self.ended_by_scheduler[(instance["task_id"], instance["map_index"])]

    def unexplained_tries(self) -> list[dict[str, Any]]:
        """The instances with other tries than those that died, the one that ended well, and what is excused."""
        return [
            each for each in self.instances if not 0 <= each["try_number"] - self.deaths(each) - 1 <= self.excused(each)
        ]

    def xcoms(self, airflow: AirflowServer, key: str) -> list[Any]:
        return [
            airflow.xcom(self.dag_id, self.run_id, "buy", key, each["map_index"], default=None)
            for each in self.instances
        ]

    def woken(self, airflow: AirflowServer) -> list[float]:
        """When the triggerer last woke each task that waited there, in seconds since 1970."""
        moments = []
        for each in self.instances:
            tries = range(1, each["try_number"] + 1)
            logs = [airflow.written_log(self.dag_id, self.run_id, "buy", one, each["map_index"]) for one in tries]
            entries = [json.loads(line) for log in logs for line in log.splitlines() if line]
            woken = [entry["timestamp"] for entry in entries if entry["event"] == WOKEN]
            moments += [datetime.fromisoformat(moment).timestamp() for moment in woken[-1:]]
        return moments

    def paid(self) -> list[dict[str, Any]]:
        return list(self.sandbox.ledger()["entries"])


@pytest.fixture(scope="module")
def queueing(busy_airflow: AirflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with SandboxServer(render="tiny", job_seconds=NEVER, parallel_jobs=SLOTS) as narrow:
        story = Story(QUEUEING_DAG, narrow, tmp_path_factory.mktemp("queueing"))
        story.start(busy_airflow, "scenario_narrow")
        story.look_until(busy_airflow, all_wait)
        let_go(narrow)
        story.see_its_end(busy_airflow)
        yield story


def begin(place: Place) -> Story:
    """Let those that crash crash, and see their run end."""
    roomy = place.stack.enter_context(SandboxServer(render="tiny", job_seconds=3, parallel_jobs=1000))
    roomy.add_fault(HOLDS_A_REPLY, method="POST", path="/generate/", times=None)
    story = Story(CRASHING_DAG, roomy, place.folder)
    story.start(place.airflow, "scenario_roomy", crash_folder=str(story.marks))
    story.see_its_end(place.airflow)
    return story


@pytest.fixture(scope="module")
def crashing(begun_on_busy: Begun) -> Story:
    told: Story = begun_on_busy[__name__].result()
    return told


def let_go(sandbox: SandboxServer) -> None:
    """Let the jobs that hold the slots end, and those that follow them end soon."""
    sandbox.configure(job_seconds=JOB_SECONDS)
    for entry in sandbox.ledger()["entries"]:
        sandbox.set_job(entry["jobId"])


def all_wait(states: Counter[str]) -> bool:
    """Whether every task that found no slot has come to its first wait."""
    return states == {"success": SLOTS, "deferred": QUEUEING - SLOTS}


# Those on two slots


def test_all_on_two_slots_succeed_at_their_first_try(queueing: Story, busy_airflow: AirflowServer) -> None:
    assert queueing.state == "success", queueing.looks[-1]
    assert Counter(each["state"] for each in queueing.instances) == {"success": QUEUEING}
    assert queueing.unexplained_tries() == []
    assert len(queueing.paid()) == QUEUEING
    assert len(set(queueing.xcoms(busy_airflow, "job_id"))) == QUEUEING


def test_who_waits_for_a_slot_holds_no_worker(queueing: Story) -> None:
    """From the look on at which the last of those without a slot has come to its first wait."""
    looks = queueing.looks
    queue = looks[next(number for number, states in enumerate(looks) if all_wait(states)) :]
    not_waiting = sum(states.total() - states["success"] - states["deferred"] for states in queue)
    assert not_waiting / len(queue) < 3 * SLOTS, "only who follows a job that has ended is on its way to a worker"
    assert sum(states["running"] for states in queue) / len(queue) < 2 * SLOTS


def test_a_slot_is_asked_for_only_when_one_may_be_free(queueing: Story) -> None:
    answers = Counter(
        visit["status"]
        for visit in queueing.sandbox.requests()["recent"]
        if visit["method"] == "POST" and "/generate/" in visit["path"]
    )
    assert answers[200] == QUEUEING
    assert answers[429] <= 2 * answers[200]
    # Before it asks, no task knows that there is no slot: that costs each task one 429. A second one is a vain call.
    assert answers[429] - QUEUEING <= QUEUEING / 3


def test_a_free_slot_is_not_left_idle(queueing: Story, busy_airflow: AirflowServer) -> None:
    """A job that ends soon wakes the next task; how long Airflow then takes to run that is not ours to judge."""
    accepted = [
        visit["time"]
        for visit in queueing.sandbox.requests()["recent"]
        if visit["method"] == "POST" and visit["status"] == 200
    ]
    woken = sorted(queueing.woken(busy_airflow))
    assert len(woken) == QUEUEING - SLOTS
    # Nobody waits for the jobs of the first two, which end at once when all others have come to their wait.
    waited = [later - earlier for earlier, later in zip(accepted[SLOTS:], woken[SLOTS:], strict=False)]
    assert sorted(waited)[len(waited) // 2] < 8.0


# Those that crash


def test_all_that_crash_end_well(crashing: Story) -> None:
    assert crashing.state == "success", crashing.looks[-1]
    assert len(crashing.instances) == CRASHING
    assert [each for each in crashing.instances if crashing.deaths(each) != 1 and not crashing.excused(each)] == []
    assert crashing.unexplained_tries() == [], "each crashed once, and no more was needed"


def test_all_that_crash_pay_once_each(crashing: Story) -> None:
    assert len(crashing.paid()) == CRASHING


def test_none_of_them_adopts_another_ones_job(crashing: Story, busy_airflow: AirflowServer) -> None:
    results = crashing.xcoms(busy_airflow, "return_value")
    assert len({made["asset_id"] for made in results}) == CRASHING
    assert {made["job_id"] for made in results} == {entry["jobId"] for entry in crashing.paid()}
    assert crashing.xcoms(busy_airflow, "job_id") == [made["job_id"] for made in results]
    seeds = {entry["jobId"]: entry["inputs"]["seed"] for entry in crashing.paid()}
    for instance, made in zip(crashing.instances, results, strict=True):
        place = (CRASHING_DAG, crashing.run_id, "buy", instance["map_index"])
        record = busy_airflow.task_state(*place)["scenario_submission"]
        assert record["job_id"] == made["job_id"]
        assert record["seed"] == made["seed"] == seeds[made["job_id"]]
        assert record["generation"] == 1
