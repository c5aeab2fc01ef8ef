"""Processes that are started in groups of their own and always ended with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from typing import Self

GUARD = Path(__file__).with_name("process_guard.py")


def process_ids_in_session(session: int) -> list[int]:
    """Every living process of a session: a component, its workers and their tasks, orphans too."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return found


class Guard:
    """The pipe to the process that cleans up after us if we die without doing so ourselves."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def tell(self, order: str, subject: int | Path) -> None:
        """Give the guard one order, starting it when it is first needed."""
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(GUARD)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            self._process.stdin.write(f"{order} {subject}\n")
            self._process.stdin.flush()


GUARD_OF_THIS_PROCESS = Guard()


class Process(Protocol):
    """A process that was started, such as `subprocess.Popen` gives it."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, or `None` while it lives."""

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code; raise `subprocess.TimeoutExpired` when it does not come."""

    def send_signal(self, number: int) -> None:
        """Send it a signal."""


class ProcessGroup:
    """One process leading its own session, its output in a file, ended with all its descendants."""

    def __init__(self, name: str, process: Process, *, log: Path, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        self.name = name
        self.log = log
        self.pid = process.pid
        self._process = process
        self._stop_signal = stop_signal
        GUARD_OF_THIS_PROCESS.tell("watch", self.pid)

    @classmethod
    def of_command(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        folder: Path,
        stdin: socket.socket | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Self:
        """Start a command, by default with nothing on its standard input."""
        identity: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(command),
                stdin=stdin or subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                **identity,
            )
        return cls(name, process, log=log, stop_signal=stop_signal)

    @property
    def exit_code(self) -> int | None:
        """How the process ended, or None while it lives."""
        return self._process.poll()

    def text(self) -> str:
        """What the process and its children wrote so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, not to its children."""
        if self.exit_code is None:
            self._process.send_signal(number)

    def wait(self, timeout: float) -> int | None:
        """Wait for the process to end; None when it has not."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_stop(self) -> None:
        """Send the signal that asks the process to end by itself; a frozen one is thawed to hear it."""
        self.signal(self._stop_signal)
        self.signal(signal.SIGCONT)

    def end(self, timeout: float = 5.0) -> None:
        """Ask once, wait, then kill whatever is left of the session, and reap it."""
        self.ask_to_stop()
        self.wait(timeout)
        deadline = time.monotonic() + 10.0
        while left := process_ids_in_session(self.pid):
            for process_id in left:
                kill(process_id)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: processes {left} survived SIGKILL")
            time.sleep(0.02)
        self.wait(1.0)
        GUARD_OF_THIS_PROCESS.tell("forget", self.pid)


def kill(process_id: int) -> None:
    """Send SIGKILL, unless the process is gone already."""
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return


def last_lines(text: str, count: int = 25) -> str:
    """The end of a log, enough to see why something ended."""
    return "\n".join(text.splitlines()[-count:])
