"""Imports Airflow once and forks its components from there: most of what a start costs is to import.

Run as a file by `airflow_components.py`, with Airflow's settings in the environment. Its standard input is a socket.
One JSON object a line comes in: `{"import": [module, ...]}`, or `{"start": [argument, ...], "log": path}` for one of
Airflow's commands. Out go `{"started": process id}` and, at its end, `{"ended": process id, "code": exit code}`.
It ends when the socket does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any


class Starter:
    """Imports and forks what it is told to, and tells how that ends."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def work(self) -> None:
        """Do as told until the other side is gone; a component, once forked, returns from here when it ends."""
        signal.signal(signal.SIGCHLD, self._tell_endings)
        with self._channel.makefile("r") as orders:
            for line in orders:
                order = json.loads(line)
                if "import" in order:
                    load(order["import"])
                elif process_id := os.fork():
                    self._tell({"started": process_id})
                else:
                    self._become(order)
                    return

    def _tell(self, news: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(news).encode() + b"\n")

    def _tell_endings(self, *_: object) -> None:
        while True:
            try:
                process_id, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process_id == 0:
                return
            self._tell({"ended": process_id, "code": os.waitstatus_to_exitcode(status)})

    def _become(self, order: dict[str, Any]) -> None:
        """Be one of Airflow's commands from here on: in a session of its own, with its output in its log."""
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with open(os.devnull, "rb") as nothing, open(order["log"], "ab") as log:
            os.dup2(nothing.fileno(), self._channel.fileno())
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)

        from airflow.__main__ import main as run_command
        from setproctitle import setproctitle

        sys.argv = ["airflow", *order["start"]]
        setproctitle(" ".join(sys.argv))
        run_command()


def load(modules: list[str]) -> None:
    """Import modules that stay: no garbage collection of a component need ever look through them."""
    for module in modules:
        importlib.import_module(module)
    gc.freeze()


def main() -> None:
    """Work on the socket that is the standard input."""
    # Airflow's components make few cycles and hold many objects: the default spends a tenth of their time in looking.
    gc.set_threshold(50_000, 20, 100)
    Starter(socket.socket(fileno=os.dup(0))).work()


if __name__ == "__main__":
    main()
