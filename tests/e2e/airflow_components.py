"""Airflow's components, each forked from a process that has imported Airflow: see `component_starter.py`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.e2e.process_group import ProcessGroup, last_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

STARTER = Path(__file__).with_name("component_starter.py")
FIRST_MODULES = ("airflow.__main__", "airflow.cli.commands.db_command", "airflow.models")
"""What `airflow db migrate` needs; the rest is imported while that runs."""

AIRFLOW_MODULES = (
    "airflow.cli.commands.dag_processor_command",
    "airflow.cli.commands.scheduler_command",
    "airflow.cli.commands.triggerer_command",
    "airflow.dag_processing.processor",
    "airflow.executors.local_executor",
    "airflow.jobs.dag_processor_job_runner",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.sdk.execution_time.task_runner",
    "airflow.utils.serve_logs",
    "airflow.cli.commands.api_server_command",
    "airflow.api_fastapi.app",
    "airflow.api_fastapi.core_api.routes.public",
    "airflow.api_fastapi.core_api.routes.ui",
    "airflow.api_fastapi.execution_api.routes",
    "airflow.api_fastapi.execution_api.versions",
    # Looking for a storage, be it this machine's, makes Airflow import those of all providers.
    "airflow.providers.amazon.aws.fs.s3",
)
PROVIDER_MODULES = (
    "airflow_provider_scenario.api.client",
    "airflow_provider_scenario.operators.generate",
    "airflow_provider_scenario.submission.generation",
    "airflow_provider_scenario.sensors.job",
    "airflow_provider_scenario.files.download",
    "airflow_provider_scenario.triggers.capacity",
    "airflow_provider_scenario.triggers.job",
)
UNKNOWN_CODE = 255
"""Stands for the exit code of a command that has ended after the starter, which alone could learn it."""


class Imported(Enum):
    """What components and tasks find imported when they start."""

    NOTHING = ()
    """They start as a user's do, each on its own."""
    AIRFLOW = AIRFLOW_MODULES
    """They start sooner, and a triggerer finds the routes of its execution API generated.

    Triggerer and tasks import a DAG's operators and triggers themselves, as a user's do.
    """
    PROVIDER = (*AIRFLOW_MODULES, *PROVIDER_MODULES)
    """That is quicker where there are many tasks."""


class ForkedProcess:
    """What `subprocess.Popen` would be for a component, had this process started it."""

    def __init__(self, pid: int, exit_code: Path, starter: ProcessGroup) -> None:
        self.pid = pid
        self._exit_code = exit_code
        self._starter = starter

    def poll(self) -> int | None:
        """Return the exit code, or `None` while it lives."""
        with contextlib.suppress(FileNotFoundError):
            return int(self._exit_code.read_text())
        return None if self._starter.exit_code is None or psutil.pid_exists(self.pid) else UNKNOWN_CODE

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code; raise `subprocess.TimeoutExpired` when it does not come."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("airflow", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has just ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class AirflowComponents:
    """Runs commands of one Airflow, each in a process and a session of its own.

    :param folder: where all of them run and write their logs.
    :param environment: Airflow's settings, the same for all.
    :param imported: what they find imported. On macOS nothing, since its libraries do not stand a fork.
    :param timeout: seconds that a command may take to start, all imports included.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        imported: Imported = Imported.AIRFLOW,
        timeout: float = 120.0,
    ) -> None:
        self._folder = folder
        self._imported = Imported.NOTHING if sys.platform == "darwin" else imported
        self._lock = threading.Lock()
        self._started = 0
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(timeout)
        self._answers = self._socket.makefile("r")
        with theirs:
            self.starter = ProcessGroup.of_command(
                "starter",
                [sys.executable, "-P", str(STARTER)],
                log=folder / "starter.log",
                environment=environment,
                folder=folder,
                stdin=theirs,
            )
        if self._imported is not Imported.NOTHING:
            self._order({"import": FIRST_MODULES})

    def import_all(self) -> None:
        """Let everything be imported that a component will need; this does not wait for it."""
        if self._imported is not Imported.NOTHING:
            self._order({"import": self._imported.value})

    def prepare_triggerers(self) -> None:
        """Let the routes of the triggerers' execution API be generated; this does not wait for it."""
        if self._imported is not Imported.NOTHING:
            self._order({"prepare": "triggerers"})

    def start(self, name: str, *arguments: str) -> ProcessGroup:
        """Run one of Airflow's commands, its output in the log of that name.

        :raises RuntimeError: when it can't be started; the message has the reason.
        """
        log = self._folder / f"{name}.log"
        log.touch()
        with self._lock:
            self._started += 1
            exit_code = self._folder / f"{name}-{self._started}.exit"
            self._order({"start": arguments, "log": str(log), "exit_code": str(exit_code)})
            try:
                answer = self._answers.readline()
            except OSError:
                answer = ""
            if not answer:
                raise self._not_started()
        return ProcessGroup(name, ForkedProcess(int(answer), exit_code, self.starter), log=log)

    def end(self) -> None:
        """End the process that starts the others."""
        self.starter.end()
        self._answers.close()
        self._socket.close()

    def _order(self, order: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
        except OSError:
            raise self._not_started() from None

    def _not_started(self) -> RuntimeError:
        # An answer that came late would be taken for that of the next command.
        self._socket.close()
        self.starter.wait(1.0)
        return RuntimeError(f"Airflow's components can't be started:\n{last_lines(self.starter.text())}")
