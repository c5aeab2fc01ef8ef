"""The Airflow of the tests is a real one: it defers, maps, retries, serves its logs, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.airflow_components import AirflowComponents, Imported
from tests.e2e.airflow_server import COMPONENTS
from tests.e2e.airflow_settings import inherited_environment
from tests.e2e.demo_report import error_messages
from tests.e2e.process_group import last_lines, process_ids_in_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.airflow_server import AirflowServer

pytestmark = pytest.mark.e2e


def wait_until(condition: Callable[[], bool], timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_every_component_is_a_process_of_its_own(airflow: AirflowServer) -> None:
    assert set(airflow.processes) == set(COMPONENTS)
    sessions = {os.getsid(process.pid) for process in airflow.processes.values()}
    assert len(sessions) == len(COMPONENTS)
    assert os.getsid(0) not in sessions
    assert airflow.worker_pids()


def test_no_dag_file_fails_to_import(airflow: AirflowServer) -> None:
    airflow.wait_for_dag("check_deferral")
    assert airflow.import_errors() == {}


def test_a_deferred_task_shows_its_values_and_its_whole_log(airflow: AirflowServer) -> None:
    airflow.wait_for_dag("check_deferral")
    states: list[str] = []
    run_id = airflow.trigger("check_deferral")
    airflow.wait_for_state("check_deferral", run_id, "park", "deferred")
    assert airflow.xcom("check_deferral", run_id, "park", "parked_for") == 10
    assert airflow.xcom("check_deferral", run_id, "park", default="none yet") == "none yet"
    run = airflow.wait_for_run("check_deferral", run_id, on_change=lambda found: states.append(found[0]["state"]))
    assert run["state"] == "success"
    assert states[0] == "deferred"
    assert states[-1] == "success"
    assert airflow.xcom_keys("check_deferral", run_id, "park") == ["parked_for", "return_value"]
    assert airflow.xcom("check_deferral", run_id, "park") == {"seconds": 10, "try": 1}
    log = airflow.log("check_deferral", run_id, "park")
    assert "trigger starting" in log
    assert "resumed after the wait" in log


def test_mapped_tasks_have_values_and_logs_of_their_own(airflow: AirflowServer) -> None:
    airflow.wait_for_dag("check_mapping")
    run_id = airflow.trigger("check_mapping")
    assert airflow.wait_for_run("check_mapping", run_id)["state"] == "success"
    indices = sorted(each["map_index"] for each in airflow.task_instances("check_mapping", run_id))
    assert indices == [0, 1, 2]
    assert [airflow.xcom("check_mapping", run_id, "double", map_index=index) for index in indices] == [2, 4, 6]
    logs = [airflow.log("check_mapping", run_id, "double", map_index=index) for index in indices]
    assert [f"doubling {index + 1}" in log for index, log in enumerate(logs)] == [True, True, True]
    assert "doubling 1" not in logs[2]


def test_a_killed_task_is_tried_again(airflow: AirflowServer) -> None:
    airflow.wait_for_dag("check_kill")
    run_id = airflow.trigger("check_kill")
    process_id = airflow.wait_for_state("check_kill", run_id, "sleep_once", "running")["pid"]
    assert process_id in airflow.task_pids()
    os.kill(process_id, signal.SIGKILL)
    assert airflow.wait_for_run("check_kill", run_id)["state"] == "success"
    assert airflow.xcom("check_kill", run_id, "sleep_once") == 2


def test_the_log_of_a_failed_task_has_its_reason(airflow: AirflowServer) -> None:
    airflow.wait_for_dag("check_failure")
    run_id = airflow.trigger("check_failure")
    assert airflow.wait_for_run("check_failure", run_id)["state"] == "failed"
    errors = [entry for entry in airflow.log_entries("check_failure", run_id, "fail") if entry.get("level") == "error"]
    assert errors[0]["error_detail"][0]["exc_value"] == "the reason of the failure"
    messages = list(error_messages(airflow, "check_failure", run_id))
    assert messages == [("fail", "ValueError: the reason of the failure")], "what the demo shows of it"


def test_why_a_component_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.e2e.airflow_components.FIRST_MODULES", ("no_such_module",))
    components = AirflowComponents(tmp_path, inherited_environment(), timeout=20.0)
    try:
        with pytest.raises(RuntimeError, match=r"No module named 'no_such_module'"):
            components.start("version", "version")
    finally:
        components.end()


@pytest.mark.parametrize("imported", [Imported.NOTHING, Imported.AIRFLOW])
def test_a_command_runs_to_its_end(imported: Imported, tmp_path: Path) -> None:
    environment = {**inherited_environment(), "AIRFLOW_HOME": str(tmp_path)}
    components = AirflowComponents(tmp_path, environment, imported)
    try:
        good, bad = components.start("good", "version"), components.start("bad", "no-such-command")
        assert (good.wait(60.0), bad.wait(60.0)) == (0, 2)
        assert re.fullmatch(r"3\.\d+\.\d+\S*", last_lines(good.text(), 1))
        assert "invalid choice: 'no-such-command'" in bad.text()
        good.signal(signal.SIGTERM)
    finally:
        components.end()
    assert bad.exit_code == 2


OWNER = """
import os, sys
from pathlib import Path
from tests.e2e.process_group import GUARD_OF_THIS_PROCESS, ProcessGroup
folder = Path(sys.argv[1])
GUARD_OF_THIS_PROCESS.tell("remove", folder)
command = ["sh", "-c", "sleep 300 & sleep 300"]
group = ProcessGroup.of_command("sleeper", command, log=folder / "log", environment=os.environ, folder=folder)
print(group.pid, flush=True)
sys.stdin.read()
"""


def test_nothing_survives_an_owner_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        session = int(owner.stdout.readline())
        wait_until(lambda: len(process_ids_in_session(session)) == 3)
        owner.kill()
    wait_until(lambda: process_ids_in_session(session) == [])
    wait_until(lambda: not folder.exists())
