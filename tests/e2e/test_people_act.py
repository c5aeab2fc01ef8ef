"""A person clears a task, or marks it as failed or successful: what was paid for is not bought again by accident.

Each scene has a run and a model of its own, so that the sandbox's ledger tells what it paid. All scenes play at once.
Their jobs run until the scene ends them.

What a clear means depends on Airflow. Where the task state survives it (3.3), a running job is rejoined, and a clear
after success asks for another generation. Where it does not (3.1, 3.2, and a plain clear on 3.4), the job is found at
Scenario by its seed and handed on again, unless the author asked for another generation by `on_clear="regenerate"`.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.airflow_api import FINISHED
from tests.this_airflow import clear_can_keep_task_state, task_state_survives_clear

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

RECORD = "model_wan-2-2-t2v.json"
STEP_SECONDS = 240.0
SCENE_SECONDS = 600.0
TASK = "buy"
WORKER_HAS_ENDED = "Received executor event with state success"
LOOKED_AT = "TaskInstance Finished"
"""How the scheduler's log begins to tell of it, and of having looked at what became of the task."""


@dataclass
class Stage:
    """One run of one DAG with one task, and what a person can do to it."""

    airflow: AirflowServer
    sandbox: SandboxServer
    name: str
    dag_id: str = ""
    run_id: str = ""
    seen: set[str] = field(default_factory=set)

    @property
    def model_id(self) -> str:
        return f"model_{self.name}"

    def start(self, dag_id: str) -> str:
        """Start a run, wait until its job is there, and return the job's id."""
        text = resources.files("airflow_provider_scenario").joinpath("api", "records", RECORD).read_text()
        self.sandbox.add_model({**json.loads(text)["model"], "id": self.model_id})
        self.airflow.wait_for_dag(dag_id)
        self.dag_id, self.run_id = dag_id, self.airflow.trigger(dag_id, {"model_id": self.model_id})
        return self.next_job()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for something to be so and return what the condition gave."""
        deadline = time.monotonic() + STEP_SECONDS
        while not (given := condition()):
            self.airflow.fail_if_ended()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not happen in {STEP_SECONDS:.0f} s.\n{self.facts()}")
            time.sleep(0.5)
        return given

    def facts(self) -> str:
        """All that Airflow says of the task and its run."""
        logs = [self.log(number) for number in range(1, self.task()["try_number"] + 1)]
        told = self.airflow.component_log("scheduler").splitlines()
        logs += [line for line in told if self.run_id in line]
        return "\n".join((f"{self.task()} {self.airflow.states(self.dag_id, self.run_id)}", *logs))

    # What happens

    def task(self) -> dict[str, Any]:
        return self.airflow.task_instance(self.dag_id, self.run_id, TASK)

    def log(self, try_number: int) -> str:
        """The log of a try, empty while there is none."""
        return self.airflow.written_log(self.dag_id, self.run_id, TASK, try_number)

    def paid(self) -> list[str]:
        return [entry["jobId"] for entry in self.sandbox.ledger()["entries"] if entry["modelId"] == self.model_id]

    def cancels(self) -> int:
        """How often Scenario was asked to cancel a job of this scene."""
        paths = {f"/v1/jobs/{job_id}/action" for job_id in self.paid()}
        return sum(visit["path"] in paths for visit in self.sandbox.requests()["recent"])

    def next_job(self) -> str:
        """Wait until one more job is paid, and return it."""
        (job_id,) = self.until(lambda: set(self.paid()) - self.seen, "A purchase")
        self.seen.add(job_id)
        return str(job_id)

    def reaches(self, state: str, try_number: int) -> None:
        def has_it() -> bool:
            task = self.task()
            return bool(task["state"] == state and task["try_number"] == try_number)

        self.until(has_it, f"Try {try_number} {state}")

    def waits_in_the_triggerer(self, try_number: int) -> None:
        """Wait until the trigger runs: Airflow tells a trigger that no triggerer has taken up of nothing."""
        self.reaches("deferred", try_number)
        self.says(try_number, "starting")

    def says(self, try_number: int, words: str) -> None:
        self.until(lambda: words in self.log(try_number), f"{words!r} in the log of try {try_number}")

    def takes_over(self, try_number: int, job_id: str) -> None:
        """Wait until a try waits for this job."""
        self.says(try_number, f"Rejoining job {job_id}" if task_state_survives_clear() else job_id)

    def result(self) -> Any:
        return self.airflow.xcom(self.dag_id, self.run_id, TASK)

    # What a person, or Scenario, does

    def clear(self, **options: Any) -> None:
        if self.task()["state"] not in ("running", "deferred"):
            # A clear at the very moment in which Airflow ends the run is lost.
            self.until(lambda: self.airflow.states(self.dag_id, self.run_id)[0] in FINISHED, "The end of the run")
        self.airflow.clear(self.dag_id, self.run_id, TASK, **options)

    def mark(self, state: str) -> None:
        self.airflow.set_task_state(self.dag_id, self.run_id, TASK, state)

    def end_job(self, job_id: str, status: str = "success", **details: object) -> None:
        self.sandbox.set_job(job_id, status, **details)

    def end_job_of_parked(self, try_number: int, job_id: str, status: str = "success", **details: object) -> None:
        """End the job of a try that waits in the triggerer, once the scheduler knows that its worker has ended.

        Sooner, on a busy machine, the scheduler may take the worker's end for that of the resumed task, and fail it.
        """
        self.reaches("deferred", try_number)
        self.until(
            lambda: self.scheduler_knows_of(try_number), f"The scheduler's knowing of the worker of {try_number}"
        )
        self.end_job(job_id, status, **details)

    def scheduler_knows_of(self, try_number: int) -> bool:
        """Whether the scheduler has been told that the worker of a try has ended, and has looked at the task since."""
        lines = iter(self.airflow.component_log("scheduler").splitlines())
        worker = f"run_id='{self.run_id}', try_number={try_number}, "
        is_told = any(WORKER_HAS_ENDED in line and worker in line for line in lines)
        # Between its two lines it reads the task's state: only until then does it matter.
        return is_told and any(LOOKED_AT in line and f"run_id={self.run_id}, " in line for line in lines)


def clear_while_deferred(stage: Stage) -> None:
    job_id = stage.start("deferred_purchase")
    stage.waits_in_the_triggerer(1)
    stage.clear()
    stage.waits_in_the_triggerer(2)
    stage.takes_over(2, job_id)
    stage.end_job_of_parked(2, job_id)
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == job_id
    assert stage.paid() == [job_id]
    assert stage.cancels() == 0


def clear_while_blocking(stage: Stage) -> None:
    job_id = stage.start("blocking_purchase")
    stage.says(1, f"Job {job_id}: in-progress")
    stage.clear()
    stage.reaches("running", 2)
    stage.takes_over(2, job_id)
    stage.end_job(job_id)
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == job_id
    assert stage.paid() == [job_id]


def buys_another(stage: Stage, first: str, **options: Any) -> None:
    """Clear a task that has succeeded, and see that this is a wish for one more generation."""
    stage.end_job_of_parked(1, first)
    stage.reaches("success", 1)
    made = stage.result()
    stage.clear(**options)
    second = stage.next_job()
    stage.end_job_of_parked(2, second)
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == second
    assert stage.result()["seed"] != made["seed"]
    assert stage.paid() == [first, second]


def hands_on_again(stage: Stage, job_id: str) -> None:
    """Clear a task that has succeeded, and see that it hands the same result on."""
    stage.end_job_of_parked(1, job_id)
    stage.reaches("success", 1)
    made = stage.result()
    stage.clear()
    stage.reaches("success", 2)
    assert stage.result() == made
    assert stage.paid() == [job_id]


def clear_after_success(stage: Stage) -> None:
    first = stage.start("deferred_purchase")
    if task_state_survives_clear():
        buys_another(stage, first)
        assert "cleared" in stage.log(2)
    else:
        hands_on_again(stage, first)


def clear_after_success_to_regenerate(stage: Stage) -> None:
    buys_another(stage, stage.start("regenerated_purchase"))


def clear_after_success_keeping_the_task_state(stage: Stage) -> None:
    buys_another(stage, stage.start("deferred_purchase"), keep_task_state=True)


def clear_after_success_to_reuse(stage: Stage) -> None:
    hands_on_again(stage, stage.start("reused_purchase"))


def clear_after_a_failed_job(stage: Stage) -> None:
    first = stage.start("deferred_purchase")
    stage.end_job_of_parked(1, first, "failure", error="The model has stumbled.", hint="Try again later.")
    stage.reaches("failed", 1)
    stage.says(1, "The model has stumbled. Try again later. Scenario refunds")
    stage.clear()
    second = stage.next_job()
    stage.end_job_of_parked(2, second)
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == second
    assert stage.paid() == [first, second]


def mark_failed_while_deferred(stage: Stage) -> None:
    job_id = stage.start("deferred_purchase")
    stage.waits_in_the_triggerer(1)
    stage.mark("failed")
    stage.reaches("failed", 1)
    assert stage.cancels() == 0
    stage.clear()
    stage.takes_over(2, job_id)
    stage.end_job_of_parked(2, job_id)
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == job_id
    assert stage.paid() == [job_id]


def mark_failed_and_clear_when_the_job_is_done(stage: Stage) -> None:
    job_id = stage.start("deferred_purchase")
    stage.waits_in_the_triggerer(1)
    stage.mark("failed")
    stage.reaches("failed", 1)
    stage.end_job(job_id)
    stage.clear()
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == job_id
    assert stage.paid() == [job_id]


def mark_success_while_deferred(stage: Stage) -> None:
    job_id = stage.start("deferred_purchase")
    stage.waits_in_the_triggerer(1)
    stage.mark("success")
    stage.reaches("success", 1)
    assert stage.cancels() == 0
    stage.clear()  # The result was never handed on, so this is no wish for another.
    stage.takes_over(2, job_id)
    stage.end_job_of_parked(2, job_id)
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == job_id
    assert stage.paid() == [job_id]


def mark_failed_while_blocking(stage: Stage) -> None:
    job_id = stage.start("blocking_purchase")
    stage.says(1, f"Job {job_id}: in-progress")
    stage.mark("failed")
    stage.says(1, f"Job {job_id} runs on and is charged")
    assert stage.cancels() == 0
    stage.clear()
    stage.takes_over(2, job_id)
    stage.end_job(job_id)
    stage.reaches("success", 2)
    assert stage.result()["job_id"] == job_id
    assert stage.paid() == [job_id]


def mark_the_run_failed_while_deferred(stage: Stage) -> None:
    job_id = stage.start("deferred_purchase")
    stage.waits_in_the_triggerer(1)
    stage.airflow.set_run_state(stage.dag_id, stage.run_id, "failed")
    stage.until(lambda: stage.task()["state"] != "deferred", "The end of the wait")
    assert stage.cancels() == 0
    assert stage.paid() == [job_id]
    stage.end_job(job_id)


SCENES = (
    clear_while_deferred,
    clear_while_blocking,
    clear_after_success,
    clear_after_success_to_regenerate,
    clear_after_success_to_reuse,
    clear_after_a_failed_job,
    mark_failed_while_deferred,
    mark_failed_and_clear_when_the_job_is_done,
    mark_success_while_deferred,
    mark_failed_while_blocking,
    mark_the_run_failed_while_deferred,
    *([clear_after_success_keeping_the_task_state] if clear_can_keep_task_state() else []),
)


def begin(place: Place) -> dict[str, Future[None]]:
    """Begin every scene that was asked for, each in a thread of its own; they are returned by name."""
    scenes = [scene for scene in SCENES if scene.__name__ in place.asked]
    pool = place.stack.enter_context(ThreadPoolExecutor(len(scenes)))
    return {scene.__name__: pool.submit(scene, Stage(place.airflow, place.sandbox, scene.__name__)) for scene in scenes}


@pytest.fixture(scope="module")
def playing(begun_on_busy: Begun) -> dict[str, Future[None]]:
    scenes: dict[str, Future[None]] = begun_on_busy[__name__].result()
    return scenes


@pytest.mark.parametrize("name", [scene.__name__ for scene in SCENES])
def test_nothing_is_bought_by_accident(name: str, playing: dict[str, Future[None]]) -> None:
    playing[name].result(SCENE_SECONDS)
