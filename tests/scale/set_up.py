"""Airflow as it runs on many machines, with each "machine" a process group of its own on this one.

PostgreSQL and Redis, an API server, a DAG processor, two schedulers, two triggerers, and two Celery workers that share
no folder: each has a temporary folder and logs of its own, and files travel by S3 only.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.e2e.airflow_server import AirflowServer
from tests.e2e.airflow_settings import QUICK_TO_NOTICE_DEATH, free_ports, inherited_environment
from tests.e2e.debian import install_package
from tests.e2e.process_group import GUARD_OF_THIS_PROCESS, ProcessGroup, process_ids_in_session

DAGS = Path(__file__).with_name("dags")


class RedisServer:
    """One Redis of Debian's package, on a free port, that keeps nothing on disk."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        GUARD_OF_THIS_PROCESS.tell("remove", self._folder)
        self._process: ProcessGroup | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        if shutil.which("redis-server") is None:
            install_package("redis-server")
        options = {"--port": str(self.port), "--bind": "127.0.0.1", "--save": "", "--appendonly": "no"}
        command = ["redis-server", *(part for option in options.items() for part in option)]
        self._process = ProcessGroup.of_command(
            "redis", command, log=self._folder / "log", environment=inherited_environment(), folder=self._folder
        )
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"Redis did not start:\n{self._process.text()}")
            time.sleep(0.05)

    def lose_everything(self) -> None:
        """Kill it, and start it again, empty."""
        self._ended(kill=True)
        self.start()

    def stop(self) -> None:
        """End it."""
        self._ended(kill=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ended(self, *, kill: bool) -> None:
        if self._process is not None:
            if kill:
                self._process.signal(signal.SIGKILL)
            self._process.end()
            self._process = None


class ObjectStorage:
    """moto's S3 in this process. It can be told to refuse everything."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.refuses = False
        self._app = create_backend_app("s3")
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.address = f"http://127.0.0.1:{self._server.port}"
        # moto keeps what it holds in its process, for as long as that lives: each night has a bucket of its own.
        self.bucket = f"studio-{secrets.token_hex(4)}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def client(self) -> Any:
        """Return a client that may do everything."""
        import boto3

        keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nobody", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.address, **keys)

    def connection(self) -> str:
        """Return the Airflow connection to it, as JSON."""
        extra = {"endpoint_url": self.address, "region_name": "us-east-1"}
        return json.dumps({"conn_type": "aws", "login": "nobody", "password": "nobody", "extra": extra})

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.refuses:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"out of order"]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


class Studio:
    """All of it. Use it in a ``with`` block.

    :param dags: The folder of its DAG files.
    :param clips: How many clips wait in the bucket. Default: none.
    :param job_seconds: How long each job takes at Scenario. Default 4.
    :param parallel_jobs: How many jobs Scenario runs at once. Default 10.
    :param tasks_a_worker: How many tasks each of the two workers runs at once. Default 4.
    """

    def __init__(
        self,
        dags: Path = DAGS,
        *,
        clips: int = 0,
        job_seconds: float = 4.0,
        parallel_jobs: int = 10,
        tasks_a_worker: int = 4,
    ) -> None:
        self.clips = clips
        self._dags = dags
        self._tasks_a_worker = tasks_a_worker
        self.redis = RedisServer()
        self.storage = ObjectStorage()
        self.scenario = SandboxServer(
            render="tiny", job_seconds=job_seconds, parallel_jobs=parallel_jobs, upload_seconds=0.2
        )
        self.workers: dict[str, ProcessGroup] = {}
        self._resources = ExitStack()
        self._environment: dict[str, str] = {}
        self._coming: list[tuple[float, Callable[[], object]]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resources.close()

    def _start(self) -> None:
        self._resources.callback(self.storage.stop)
        self._resources.callback(self.redis.stop)
        self.redis.start()
        self._resources.enter_context(self.scenario)
        self._fill_bucket()
        self._environment = {
            **QUICK_TO_NOTICE_DEATH,
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{self.redis.port}/0",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(self._tasks_a_worker),
            # What Redis has lost is queued again soon.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
            "AIRFLOW_CONN_SCENARIO_DEFAULT": self.scenario.connection_json(),
            "AIRFLOW_CONN_STUDIO_S3": self.storage.connection(),
            "STUDIO_BUCKET": f"s3://studio_s3@{self.storage.bucket}",
        }
        self.airflow = AirflowServer(self._dags, database="postgresql", parallelism=32, environment=self._environment)
        self._resources.enter_context(self.airflow)
        self.airflow.start_scheduler("scheduler-2")
        self.airflow.start_triggerer("triggerer-2")
        for name in ("worker-1", "worker-2"):
            self.start_worker(name)
        self._resources.callback(self._stop_workers)

    def later(self, seconds: float, then: Callable[[], object]) -> None:
        """Have something done in some seconds, by :meth:`tend`."""
        self._coming.append((time.monotonic() + seconds, then))

    def tend(self, *, end: bool = False) -> list[str]:
        """Do what is due, and start again what has ended by itself, as each machine's systemd does.

        :param end: Whether to do all that was put off, due or not.
        :return: What was started again.
        """
        due = [one for one in self._coming if end or one[0] <= time.monotonic()]
        for one in due:
            self._coming.remove(one)
            one[1]()
        ended = [name for name, worker in self.workers.items() if worker.exit_code is not None]
        for name in ended:
            self.workers.pop(name).end()
            self.start_worker(name)
        return ended + self.airflow.restart_ended()

    def start_worker(self, name: str) -> None:
        """Start a worker's host: nothing on disk is left of what it may have been before."""
        folder = self.airflow.home / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "tmp").mkdir(parents=True)
        environment = {
            **self.airflow.environment,
            "TMPDIR": str(folder / "tmp"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        command = [sys.executable, "-m", "airflow", "celery", "worker", "--celery-hostname", f"{name}@%h"]
        self.workers[name] = ProcessGroup.of_command(
            name, [*command, "--skip-serve-logs"], log=folder / "log", environment=environment, folder=folder
        )

    def kill_worker(self, name: str) -> None:
        """Kill a worker's host whole: the worker, and all its tasks."""
        worker = self.workers.pop(name)
        tasks = psutil.Process(worker.pid).children(recursive=True)
        for pid in {worker.pid, *(task.pid for task in tasks), *process_ids_in_session(worker.pid)}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        worker.end()

    def logs(self) -> str:
        """Return all that Airflow and its tasks have written."""
        return "\n".join(
            file.read_text(errors="replace") for file in self.airflow.home.rglob("*log*") if file.is_file()
        )

    def _stop_workers(self) -> None:
        for worker in self.workers.values():
            worker.end(20.0)

    def _fill_bucket(self) -> None:
        client = self.storage.client()
        client.create_bucket(Bucket=self.storage.bucket)
        with tempfile.TemporaryDirectory() as folder:
            for number in range(self.clips):
                clip = draw_clip(
                    Path(folder) / f"{number:03}.mp4",
                    seconds=1,
                    width=160,
                    height=90,
                    frames_per_second=12,
                    seed=number,
                )
                client.upload_file(
                    str(clip), self.storage.bucket, f"new/{clip.name}", ExtraArgs={"ContentType": "video/mp4"}
                )
