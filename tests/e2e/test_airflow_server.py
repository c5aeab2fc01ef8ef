"""The Airflow of the tests is a real one: it defers, maps, retries, serves its logs, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from demo.report import error_messages
from tests.e2e.airflow_server import COMPONENTS

if TYPE_CHECKING:
    from tests.e2e.airflow_server import AirflowServer
    from tests.e2e.shared_runs import Begun, Place

pytestmark = pytest.mark.e2e

CHECKS = ("check_mapping", "check_kill", "check_failure", "check_deferral")
"""The last one is looked at first, while it waits."""


def begin(place: Place) -> dict[str, str]:
    """Start every check, once all are there, and return the ids of the runs."""
    for dag_id in CHECKS:
        place.airflow.wait_for_dag(dag_id)
    return {dag_id: place.airflow.trigger(dag_id) for dag_id in CHECKS}


@pytest.fixture(scope="module")
def run_ids(begun: Begun) -> dict[str, str]:
    started: dict[str, str] = begun[__name__].result()
    return started


def test_every_component_is_a_process_of_its_own(airflow: AirflowServer) -> None:
    assert set(airflow.processes) == set(COMPONENTS)
    sessions = {os.getsid(process.pid) for process in airflow.processes.values()}
    assert len(sessions) == len(COMPONENTS)
    assert os.getsid(0) not in sessions
    assert airflow.worker_pids()


def test_no_dag_file_fails_to_import(airflow: AirflowServer) -> None:
    airflow.wait_for_dag("check_deferral")
    assert airflow.import_errors() == {}


def test_a_deferred_task_shows_its_values_and_its_whole_log(airflow: AirflowServer, run_ids: dict[str, str]) -> None:
    run_id = run_ids["check_deferral"]
    states: list[str] = []
    airflow.wait_for_state("check_deferral", run_id, "park", "deferred")
    assert airflow.xcom("check_deferral", run_id, "park", "parked_for") == 10
    assert airflow.xcom("check_deferral", run_id, "park", default="none yet") == "none yet"
    run = airflow.wait_for_run("check_deferral", run_id, on_change=lambda found: states.append(found[0]["state"]))
    assert run["state"] == "success"
    assert states[0] == "deferred"
    assert states[-1] == "success"
    assert airflow.xcom_keys("check_deferral", run_id, "park") == ["parked_for", "return_value"]
    (instance,) = airflow.task_instances("check_deferral", run_id)
    # Airflow's scheduler may end a deferred task by itself on a busy machine; then its log says so.
    excused = airflow.ended_by_scheduler("check_deferral", run_id)[("park", -1)]
    assert 0 <= instance["try_number"] - 1 <= excused
    assert airflow.xcom("check_deferral", run_id, "park") == {"seconds": 10, "try": instance["try_number"]}
    log = airflow.log("check_deferral", run_id, "park")
    assert "trigger starting" in log
    assert "resumed after the wait" in log


def test_mapped_tasks_have_values_and_logs_of_their_own(airflow: AirflowServer, run_ids: dict[str, str]) -> None:
    run_id = run_ids["check_mapping"]
    assert airflow.wait_for_run("check_mapping", run_id)["state"] == "success"
    indices = sorted(each["map_index"] for each in airflow.task_instances("check_mapping", run_id))
    assert indices == [0, 1, 2]
    assert [airflow.xcom("check_mapping", run_id, "double", map_index=index) for index in indices] == [2, 4, 6]
    logs = [airflow.log("check_mapping", run_id, "double", map_index=index) for index in indices]
    assert [f"doubling {index + 1}" in log for index, log in enumerate(logs)] == [True, True, True]
    assert "doubling 1" not in logs[2]


def test_a_killed_task_is_tried_again(airflow: AirflowServer, run_ids: dict[str, str]) -> None:
    run_id = run_ids["check_kill"]
    process_id = airflow.wait_for_state("check_kill", run_id, "sleep_once", "running")["pid"]
    assert process_id in airflow.task_pids()
    os.kill(process_id, signal.SIGKILL)
    assert airflow.wait_for_run("check_kill", run_id)["state"] == "success"
    assert airflow.xcom("check_kill", run_id, "sleep_once") == 2


def test_the_log_of_a_failed_task_has_its_reason(airflow: AirflowServer, run_ids: dict[str, str]) -> None:
    run_id = run_ids["check_failure"]
    assert airflow.wait_for_run("check_failure", run_id)["state"] == "failed"
    errors = [entry for entry in airflow.log_entries("check_failure", run_id, "fail") if entry.get("level") == "error"]
    assert errors[0]["error_detail"][0]["exc_value"] == "the reason of the failure"
    messages = list(error_messages(airflow, "check_failure", run_id))
    assert messages == [("fail", "ValueError: the reason of the failure")], "what the demo shows of it"
