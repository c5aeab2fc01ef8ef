"""Whatever kills a worker, and however Scenario's reply gets lost: one job is paid, and its file is saved once.

A try more than a run's crashes account for fails a test, unless Airflow's own log says that its scheduler ended one.

All cases run at once on one Airflow. Each has a model of its own, a copy of one of Scenario's, so that a fault can be
ordered for it alone and the sandbox's ledger tells what it paid.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.this_airflow import has_task_state_store

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer
    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

MODES = ("deferrable", "blocking")
RUN_SECONDS = 600.0
RECORD = "model_wan-2-2-t2v.json"

HELD_AFTER = {"type": "hang", "when": "after"}
HELD_BEFORE = {"type": "hang", "when": "before"}


@dataclass(frozen=True)
class Case:
    """One run: where its workers die, or what happens to the reply to its POST."""

    mode: str
    name: str
    crashes: tuple[str, ...] = ()
    fault: dict[str, Any] | None = None
    has_seed: bool = True
    connection: str = "scenario_default"

    @property
    def id(self) -> str:
        return f"{self.mode}-{self.name}"

    @property
    def model_id(self) -> str:
        return f"model_{self.id}"


def crash_cases(mode: str) -> list[Case]:
    """A worker that dies, at each point once."""
    faults = {"in-flight-accepted": HELD_AFTER, "in-flight-not-accepted": HELD_BEFORE}
    points = ["before-intent", "after-intent", *faults, "before-job-id", "after-job-id"]
    points += ["before-deferral", "resumed"] if mode == "deferrable" else ["polling"]
    points += ["before-return", "after-return", "half-file", "whole-file"]
    return [
        *(Case(mode, point, (point,), faults.get(point)) for point in points),
        Case(mode, "twice", ("before-intent", "before-job-id")),
        Case(mode, "without-a-seed", ("before-job-id",), has_seed=False),
    ]


def lost_reply_cases(mode: str) -> list[Case]:
    """A worker that lives, and a reply that does not reach it."""
    return [
        Case(mode, "dropped", fault={"type": "drop_after"}),
        Case(mode, "reset", fault={"type": "drop_after", "reset": True}),
        Case(mode, "bad-gateway", fault={"type": "status_after", "code": 502}),
        Case(mode, "late", fault={"type": "delay", "when": "after", "seconds": 8}, connection="scenario_impatient"),
        Case(mode, "cut-json", fault={"type": "cut_body"}),
        Case(mode, "half-json", fault={"type": "short_body"}),
        Case(mode, "not-accepted", fault={"type": "drop_before"}),
    ]


SEARCHES_FOR_MINUTES = ("after-intent", "in-flight-not-accepted", "not-accepted", "without-a-seed")
"""Only after minutes is it sure that Scenario has no job, or no other one: these begin first."""

CRASHES = [case for mode in MODES for case in crash_cases(mode)]
LOST_REPLIES = [case for mode in MODES for case in lost_reply_cases(mode)]


@dataclass
class Runs:
    """One run of every case that was asked for, all started at once."""

    airflow: AirflowServer
    sandbox: SandboxServer
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)

    def start(self, case: Case, record: dict[str, Any]) -> None:
        inputs = [entry for entry in record["inputs"] if case.has_seed or entry["name"] != "seed"]
        self.sandbox.add_model({**record, "id": case.model_id, "inputs": inputs})
        if case.fault is not None:
            self.sandbox.add_fault(case.fault, method="POST", path=f"/generate/custom/{case.model_id}$")
        self.marks(case).mkdir(parents=True)
        conf = {
            "crashes": list(case.crashes),
            "crash_folder": str(self.marks(case)),
            "model_id": case.model_id,
            "control_url": self.sandbox.control_url,
            "destination": self.saved(case).as_uri(),
            "connection": case.connection,
        }
        self.ids[case.id] = self.airflow.trigger(f"crash_{case.mode}", conf)

    def marks(self, case: Case) -> Path:
        return self.folder / case.id / "crashes"

    def saved(self, case: Case) -> Path:
        return self.folder / case.id / "saved"

    def finished(self, case: Case) -> dict[str, dict[str, Any]]:
        """Wait for the run's end and return its task instances by name."""
        where = (f"crash_{case.mode}", self.ids[case.id])
        run = self.airflow.wait_for_run(*where, timeout=RUN_SECONDS)
        instances = {task_id: self.airflow.task_instance(*where, task_id) for task_id in ("buy", "save")}
        last = max(instances["buy"]["try_number"], 1)
        assert run["state"] == "success", "\n".join(
            self.airflow.log(*where, "buy", number) for number in range(1, last + 1)
        )
        return instances

    def ended_by_airflow(self, case: Case) -> int:
        """How many tries Airflow's scheduler ended by itself at most, as its log says; an idle machine sees none."""
        return self.airflow.ended_by_scheduler(f"crash_{case.mode}", self.ids[case.id]).total()

    def paid(self, case: Case) -> list[dict[str, Any]]:
        return [entry for entry in self.sandbox.ledger()["entries"] if entry["modelId"] == case.model_id]

    def cancels(self, case: Case) -> int:
        """How often Scenario was asked to cancel a job of this case."""
        paths = {f"/v1/jobs/{entry['jobId']}/action" for entry in self.paid(case)}
        return sum(visit["path"] in paths for visit in self.sandbox.requests()["recent"])

    def logs(self, case: Case, instances: dict[str, dict[str, Any]]) -> str:
        """What was written of every try."""
        where = (f"crash_{case.mode}", self.ids[case.id])
        tries = [(task, number + 1) for task, each in instances.items() for number in range(each["try_number"])]
        return "\n".join(self.airflow.written_log(*where, task, number) for task, number in tries)

    def log(self, case: Case, task_id: str, try_number: int = 1) -> str:
        return self.airflow.log(f"crash_{case.mode}", self.ids[case.id], task_id, try_number)

    def xcom(self, case: Case, task_id: str, key: str = "return_value") -> Any:
        return self.airflow.xcom(f"crash_{case.mode}", self.ids[case.id], task_id, key)


def begin(place: Place) -> Runs:
    """Start one run of every case that was asked for."""
    record = json.loads(resources.files("airflow_provider_scenario").joinpath("api", "records", RECORD).read_text())
    started = Runs(place.airflow, place.sandbox, place.folder)
    for mode in MODES:
        place.airflow.wait_for_dag(f"crash_{mode}")
    asked = [case for case in (*CRASHES, *LOST_REPLIES) if case in place.asked]
    for case in sorted(asked, key=lambda case: case.name not in SEARCHES_FOR_MINUTES):
        started.start(case, record["model"])
    return started


@pytest.fixture(scope="module")
def runs(begun_on_busy: Begun) -> Runs:
    started: Runs = begun_on_busy[__name__].result()
    return started


def assert_paid_and_saved_once(runs: Runs, case: Case, instances: dict[str, dict[str, Any]]) -> None:
    entries = runs.paid(case)
    assert len(entries) == 1, f"{entries}\n{runs.logs(case, instances)}"
    (paid,) = entries
    assert runs.cancels(case) == 0
    made = runs.xcom(case, "buy")
    assert made["job_id"] == paid["jobId"] == runs.xcom(case, "buy", "job_id")
    assert float(made["cost"]) == paid["charged"]
    (saved,) = runs.xcom(case, "save")
    assert saved["asset_id"] == made["asset_id"]
    manifest, path = sorted(runs.saved(case).iterdir(), key=lambda path: path.suffix)
    assert json.loads(manifest.read_bytes()) == runs.xcom(case, "save", "manifest")
    assert path.as_uri() == saved["uri"]
    assert path.stat().st_size == saved["bytes"]


@pytest.mark.parametrize("case", CRASHES, ids=lambda case: case.id)
def test_a_worker_dies(case: Case, runs: Runs) -> None:
    instances = runs.finished(case)
    happened, ended_by_airflow = {mark.name for mark in runs.marks(case).iterdir()}, runs.ended_by_airflow(case)
    # A try that the scheduler ended may have been the one that was to die.
    assert happened <= set(case.crashes)
    assert len(case.crashes) - len(happened) <= ended_by_airflow, runs.logs(case, instances)
    needed = len(instances) + len(happened)
    tries = sum(each["try_number"] for each in instances.values())
    assert needed <= tries <= needed + ended_by_airflow, runs.logs(case, instances)
    assert_paid_and_saved_once(runs, case, instances)


@pytest.mark.parametrize("case", LOST_REPLIES, ids=lambda case: case.id)
def test_a_reply_is_lost(case: Case, runs: Runs) -> None:
    instances = runs.finished(case)
    (fault,) = [each for each in runs.sandbox.faults() if f"/{case.model_id}$" in each["path"]]
    assert fault["hits"] == 1
    tries = sum(each["try_number"] for each in instances.values())
    assert len(instances) <= tries <= len(instances) + runs.ended_by_airflow(case), runs.logs(case, instances)
    assert_paid_and_saved_once(runs, case, instances)


@pytest.mark.parametrize("case", [case for case in CRASHES if case.name == "whole-file"], ids=lambda case: case.id)
def test_a_file_that_was_saved_is_not_fetched_again(case: Case, runs: Runs) -> None:
    runs.finished(case)
    assert "is there already" in runs.log(case, "save", 2)


@pytest.mark.parametrize("case", [case for case in LOST_REPLIES if case.name == "dropped"], ids=lambda case: case.id)
def test_the_log_tells_what_became_of_a_lost_reply(case: Case, runs: Runs) -> None:
    runs.finished(case)
    log = runs.log(case, "buy")
    assert "It may have been accepted all the same: looking for it." in log
    assert f"Rejoining job {runs.xcom(case, 'buy', 'job_id')}" in log


@pytest.mark.parametrize(
    "case", [case for case in LOST_REPLIES if case.name == "not-accepted"], ids=lambda case: case.id
)
def test_a_deferrable_task_holds_no_worker_for_a_search_of_minutes(case: Case, runs: Runs) -> None:
    runs.finished(case)
    log = runs.log(case, "buy")
    # Without a store only the process that lost the reply knows of it.
    may_defer = case.mode == "deferrable" and has_task_state_store()
    assert log.count("No worker is held meanwhile") == (1 if may_defer else 0)
    assert log.count("no job of it shows up at Scenario") == 1
