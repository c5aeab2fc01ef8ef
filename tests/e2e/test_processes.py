"""Processes of the tests: started with what Airflow needs, their failures told, and ended with their owner."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.airflow_components import AirflowComponents, Imported
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.airflow_settings import inherited_environment
from tests.e2e.process_group import ProcessGroup, last_lines, process_ids_in_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wait_until(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


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


@contextmanager
def stopped(airflow: AirflowServer) -> Iterator[None]:
    try:
        yield
    finally:
        airflow.stop_all()


class RunWithoutEnd(AirflowServer):
    """An Airflow of one component, a command, on which a run goes on for ever."""

    def __init__(self, folder: Path, command: str) -> None:
        super().__init__(folder, database="postgresql")
        self.processes["scheduler"] = ProcessGroup.of_command(
            "scheduler", ["sh", "-c", command], log=folder / "log", environment=inherited_environment(), folder=folder
        )

    def states(self, dag_id: str, run_id: str) -> tuple[str, Counter[str]]:
        return "running", Counter(queued=1)


def test_a_component_that_ended_is_told_at_once(tmp_path: Path) -> None:
    airflow = RunWithoutEnd(tmp_path, "echo 'the database went away'; exit 3")
    with stopped(airflow), pytest.raises(RuntimeError, match=r"scheduler ended with 3:\nthe database went away"):
        airflow.wait_for_run("a_dag", "a_run", timeout=60.0)


def test_a_run_without_end_is_told_with_what_airflow_wrote(tmp_path: Path) -> None:
    airflow = RunWithoutEnd(tmp_path, "echo 'still looking'; exec sleep 60")
    with stopped(airflow):
        wait_until(lambda: "still looking" in airflow.processes["scheduler"].text())
        with pytest.raises(TimeoutError, match=r"(?s)a_run of a_dag is running after 0 s.*queued.*still looking"):
            airflow.wait_for_run("a_dag", "a_run", timeout=0.3)


def test_twenty_waits_without_end_do_not_take_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.e2e.airflow_server.LAST_WAITS_SECONDS", 0.2)
    airflow = RunWithoutEnd(tmp_path, "exec sleep 60")
    with stopped(airflow):
        with pytest.raises(TimeoutError, match="run first"):
            airflow.wait_for_run("a_dag", "first", timeout=0.2)
        with pytest.raises(TimeoutError, match=r"(?s)run second .*Before that: run first"):
            airflow.wait_for_run("a_dag", "second", timeout=600.0)
