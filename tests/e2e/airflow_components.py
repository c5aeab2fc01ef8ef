"""Airflow's components, each forked from a process that has imported Airflow: see `component_starter.py`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.process_group import ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STARTER = Path(__file__).with_name("component_starter.py")
ANSWER_SECONDS = 120.0
FIRST_MODULES = ("airflow.__main__", "airflow.cli.commands.db_command", "airflow.models")
"""What `airflow db migrate` needs; the rest is imported while that runs."""

MODULES = (
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
)


class ForkedProcess:
    """What `subprocess.Popen` would be for a component, had this process started it."""

    def __init__(self, pid: int, components: AirflowComponents) -> None:
        self.pid = pid
        self._components = components

    def poll(self) -> int | None:
        """Return the exit code, or `None` while it lives."""
        return self._components.exit_code(self.pid)

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code; raise `subprocess.TimeoutExpired` when it does not come."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("airflow", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


class AirflowComponents:
    """Runs commands of one Airflow, each in a process and a session of its own.

    :param folder: where all of them run and write their logs.
    :param environment: Airflow's settings, the same for all.
    :param shared_modules: imported for all that they fork, tasks too.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], shared_modules: Sequence[str] = ()) -> None:
        self._folder = folder
        self._shared_modules = shared_modules
        self._lock = threading.Lock()
        self._unread = b""
        self._exit_codes: dict[int, int] = {}
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._starter = ProcessGroup.of_command(
                "starter",
                [sys.executable, "-P", str(STARTER)],
                log=folder / "starter.log",
                environment=environment,
                folder=folder,
                stdin=theirs,
            )
        self._order({"import": FIRST_MODULES})

    def import_all(self) -> None:
        """Let everything be imported that a component will need; this does not wait for it."""
        self._order({"import": (*MODULES, *self._shared_modules)})

    def start(self, name: str, *arguments: str) -> ProcessGroup:
        """Run one of Airflow's commands, its output in the log of that name."""
        log = self._folder / f"{name}.log"
        log.touch()
        with self._lock:
            self._order({"start": arguments, "log": str(log)})
            deadline = time.monotonic() + ANSWER_SECONDS
            while not (started := self._news(deadline - time.monotonic())):
                if time.monotonic() > deadline or self._starter.exit_code is not None:
                    raise RuntimeError(f"airflow {name} was not started:\n{self._starter.text()}")
        return ProcessGroup(name, ForkedProcess(started[0], self), log=log)

    def exit_code(self, pid: int) -> int | None:
        """How a command ended, or `None` while it runs."""
        with self._lock:
            self._news(0.0)
            return self._exit_codes.get(pid)

    def end(self) -> None:
        """End the process that starts the others."""
        self._starter.end()
        self._socket.close()

    def _order(self, order: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(order).encode() + b"\n")

    def _news(self, timeout: float) -> list[int]:
        """Read what the starter has told; return the processes that it started."""
        self._socket.settimeout(max(timeout, 0.0))
        try:
            self._unread += self._socket.recv(65536)
        except (BlockingIOError, TimeoutError):
            return []
        *lines, self._unread = self._unread.split(b"\n")
        news = [json.loads(line) for line in lines]
        self._exit_codes |= {each["ended"]: each["code"] for each in news if "ended" in each}
        return [each["started"] for each in news if "started" in each]
