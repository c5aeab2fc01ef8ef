"""Forks Airflow's components from one process that has imported Airflow: most of what a start costs is to import.

Run as a file by `airflow_components.py`, with Airflow's settings in the environment. Its standard input is a socket, on
which it is told one JSON object a line: `{"import": [module, ...]}`, `{"prepare": "triggerers"}`, or `{"start":
[argument, ...], "log": path, "exit_code": path}` for one of Airflow's commands, to which it answers with the process id
in a line. It writes the exit code to that file when the command has ended. It ends when the socket does.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any


class Starter:
    """Imports and forks what it is told to."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._running: dict[int, Path] = {}

    def work(self) -> None:
        """Do as told until the other side is gone; a component, once forked, returns from here when it ends."""
        signal.signal(signal.SIGCHLD, self._write_exit_codes)
        with self._channel.makefile("r") as orders:
            for line in orders:
                order = json.loads(line)
                if "import" in order:
                    load(order["import"])
                elif "prepare" in order:
                    prepare_triggerers()
                elif process_id := self._fork(Path(order["exit_code"])):
                    self._channel.sendall(f"{process_id}\n".encode())
                else:
                    self._become(order)
                    return

    def _fork(self, exit_code: Path) -> int:
        """Fork, and know of the child before it can have ended."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        process_id = os.fork()
        if process_id:
            self._running[process_id] = exit_code
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        return process_id

    def _write_exit_codes(self, *_: object) -> None:
        for process_id in list(self._running):
            ended, status = os.waitpid(process_id, os.WNOHANG)
            if ended:
                file = self._running.pop(process_id)
                unfinished = file.with_suffix(".unfinished")
                unfinished.write_text(str(os.waitstatus_to_exitcode(status)))
                unfinished.replace(file)

    def _become(self, order: dict[str, Any]) -> None:
        """Be one of Airflow's commands from here on: in a session of its own, with its output in its log."""
        os.setsid()
        with open(os.devnull, "rb") as nothing, open(order["log"], "ab") as log:
            os.dup2(nothing.fileno(), self._channel.fileno(), inheritable=False)
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if "airflow" not in sys.modules:
            os.execv(sys.executable, [sys.executable, "-m", "airflow", *order["start"]])

        from airflow.__main__ import main as run_command
        from setproctitle import setproctitle

        sys.argv = ["airflow", *order["start"]]
        setproctitle(" ".join(sys.argv))
        run_command()


def load(modules: list[str]) -> None:
    """Import modules for all that are forked later; what an Airflow does not have, its components won't ask for."""
    # Airflow's components make few cycles and hold many objects: the default spends a tenth of their time in looking.
    gc.set_threshold(50_000, 20, 100)
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("airflow."):
                raise
            print(f"{module} is not imported: {error}")
    from sqlalchemy.orm import configure_mappers

    configure_mappers()  # Otherwise each component does it at its first query.
    gc.freeze()


def prepare_triggerers() -> None:
    """Generate the routes of the triggerers' execution API once, for all that are forked later.

    Each would generate them at its first request: five seconds of a processor in which no trigger begins. It is the one
    function of Airflow that is replaced. From Airflow 3.4 on each triggerer makes an API of its own: nothing is shared.
    """
    from airflow.jobs import triggerer_job_runner

    if not hasattr(triggerer_job_runner, "in_process_api_server"):
        return

    import httpx
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI

    async def ask(transport: httpx.AsyncBaseTransport) -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
            await client.get("/no-such-route")

    api = InProcessExecutionAPI()
    # Unlike asyncio.run, this leaves nothing behind that asyncio.get_event_loop() would tell from a fresh process.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask(api.atransport))
    loop.close()
    triggerer_job_runner.in_process_api_server = lambda: api
    gc.freeze()


if __name__ == "__main__":
    Starter(socket.socket(fileno=os.dup(0))).work()
