"""Parts of Airflow die, stall and come back while tasks wait: nothing is cancelled, and nothing is paid twice.

The jobs run until a test ends them. Each test has a model of its own, so that the sandbox's ledger tells what it paid.
"""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.e2e.airflow_server import COMPONENTS
from tests.e2e.process_group import process_ids_in_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.airflow_server import AirflowServer

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("unseen_videos")]

RECORD = "model_wan-2-2-t2v.json"
STEP_SECONDS = 240.0
DAG_ID, TASK = "deferred_purchase", "buy"


@dataclass
class PurchaseSummary:
    """Some runs that wait in a triggerer for one job each."""

    airflow: AirflowServer
    sandbox: SandboxServer
    model_id: str
    run_ids: list[str] = field(default_factory=list)

    def start(self, count: int) -> None:
        text = resources.files("airflow_provider_scenario").joinpath("api", "records", RECORD).read_text()
        self.sandbox.add_model({**json.loads(text)["model"], "id": self.model_id})
        self.run_ids = [self.airflow.trigger(DAG_ID, {"model_id": self.model_id}) for _ in range(count)]
        self.until(lambda: all(map(self.triggerer, self.run_ids)), "Every task waiting in a triggerer")

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not happen in {STEP_SECONDS:.0f} s.")
            time.sleep(0.5)

    def triggerer(self, run_id: str) -> int | None:
        """The number of the triggerer in which a run's task waits."""
        job = self.airflow.task_instance(DAG_ID, run_id, TASK)["triggerer_job"]
        return job["id"] if job else None

    def job_id(self, run_id: str) -> str:
        return str(self.airflow.xcom(DAG_ID, run_id, TASK, "job_id"))

    def log(self, run_id: str) -> str:
        return self.airflow.written_log(DAG_ID, run_id, TASK)

    def end_jobs(self, *run_ids: str) -> None:
        for run_id in run_ids:
            self.sandbox.set_job(self.job_id(run_id))

    def assert_each_succeeded_and_was_paid_once(self) -> None:
        made = set()
        for run_id in self.run_ids:
            assert self.airflow.wait_for_run(DAG_ID, run_id, timeout=STEP_SECONDS)["state"] == "success"
            assert self.airflow.task_instance(DAG_ID, run_id, TASK)["try_number"] == 1
            made.add(self.airflow.xcom(DAG_ID, run_id, TASK)["job_id"])
        paid = [entry["jobId"] for entry in self.sandbox.ledger()["entries"] if entry["modelId"] == self.model_id]
        assert len(paid) == len(self.run_ids)
        assert set(paid) == made

    def assert_nothing_was_cancelled(self) -> None:
        paths = {f"/v1/jobs/{self.job_id(run_id)}/action" for run_id in self.run_ids}
        assert not [visit for visit in self.sandbox.requests()["recent"] if visit["path"] in paths]


@pytest.fixture
def purchases(airflow: AirflowServer, sandbox: SandboxServer, request: pytest.FixtureRequest) -> PurchaseSummary:
    airflow.wait_for_dag(DAG_ID)
    return PurchaseSummary(airflow, sandbox, f"model_{request.node.name}")


def test_a_triggerer_and_a_scheduler_die_and_come_back(airflow: AirflowServer, purchases: PurchaseSummary) -> None:
    purchases.start(3)
    first, second, third = purchases.run_ids
    former = purchases.triggerer(first)
    airflow.kill("triggerer", with_children=True)
    purchases.end_jobs(first)
    airflow.start("triggerer")
    purchases.until(
        lambda: former not in map(purchases.triggerer, purchases.run_ids), "Every task moved to the new triggerer"
    )
    session = airflow.processes["scheduler"].pid
    airflow.kill("scheduler")
    purchases.end_jobs(second)
    airflow.start("scheduler")
    assert process_ids_in_session(session) == [], "its workers are no orphans beside the new one's"
    purchases.end_jobs(third)
    purchases.assert_each_succeeded_and_was_paid_once()
    purchases.assert_nothing_was_cancelled()


def test_a_triggerer_stalls_and_another_takes_over(airflow: AirflowServer, purchases: PurchaseSummary) -> None:
    purchases.start(3)
    stalled = {purchases.triggerer(run_id) for run_id in purchases.run_ids}
    airflow.start_triggerer("second-triggerer")
    airflow.kill("triggerer", signal.SIGSTOP, with_children=True)
    purchases.until(
        lambda: all(purchases.triggerer(run_id) not in {None, *stalled} for run_id in purchases.run_ids),
        "Every task taken over by the second triggerer",
    )
    # One job ends while the first triggerer stalls; its task is over when that wakes up.
    first, *others = purchases.run_ids
    purchases.end_jobs(first)
    assert airflow.wait_for_run(DAG_ID, first, timeout=STEP_SECONDS)["state"] == "success"
    airflow.kill("triggerer", signal.SIGCONT, with_children=True)
    purchases.until(
        lambda: all("invoking on_kill" in purchases.log(run_id) for run_id in others),
        "The first triggerer being told to let go",
    )
    assert all(airflow.task_instance(DAG_ID, run_id, TASK)["state"] == "deferred" for run_id in others)
    purchases.end_jobs(*others)
    purchases.assert_each_succeeded_and_was_paid_once()
    purchases.assert_nothing_was_cancelled()


def test_nothing_is_left_running(airflow: AirflowServer) -> None:
    """The last test of this Airflow: PostgreSQL, the second triggerer and what was started anew go too."""
    home = airflow.home
    sessions = [process.pid for process in (*airflow.processes.values(), airflow.components.starter)]
    assert len(sessions) > len(COMPONENTS)
    assert all(process_ids_in_session(session) for session in sessions)
    before = postgres_processes()
    airflow.stop_all()
    assert [process_ids_in_session(session) for session in sessions] == [[]] * len(sessions)
    assert not home.exists()
    assert len(postgres_processes()) < len(before)


def postgres_processes() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True) if child.name() == "postgres"]
