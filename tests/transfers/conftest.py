"""What the tests of transfers share: short waits, a task's context, and storages."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach

from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.files import download, upload
from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.this_airflow import has_task_state_store


class StateStore:
    """A task state store in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = value


class TaskInstance:
    """A task instance that keeps its XComs."""

    def __init__(self, map_index: int = -1) -> None:
        self.map_index = map_index
        self.max_tries = 0
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    retry_config = RetryConfig(attempts=4, first_wait=0.02, longest_wait=0.1)
    monkeypatch.setattr(download, "RETRY_CONFIG", retry_config)
    monkeypatch.setattr(upload, "RETRY_CONFIG", retry_config)
    monkeypatch.setattr(download, "FIRST_POLL", 0.1)


@pytest.fixture
def scenario(sandbox: SandboxServer, scenario_connection: str) -> SandboxServer:
    """The sandbox, with a connection that leads to it."""
    return sandbox


def task_context() -> Any:
    """The context of a task, with a task state store where this Airflow has one."""
    store = {"task_state_store": StateStore()} if has_task_state_store() else {}
    return {**store, "outlet_events": {}, "ti": TaskInstance()}


@pytest.fixture
def context() -> dict[str, Any]:
    return dict(task_context())


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """Where an S3 of this process answers: moto's without its dispatcher, which lists a folder at every request."""
    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def s3_bucket(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStoragePath:
    """A fresh bucket, by way of an Airflow connection."""
    extra = {"endpoint_url": s3_address, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "key_of_nobody", "password": "secret_of_nobody", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TEST", json.dumps(connection))
    path = ObjectStoragePath(f"s3://aws_test@bucket-{uuid.uuid4().hex}/clips")
    path.fs.mkdir(path.path.partition("/")[0])
    return path


@pytest.fixture
def bucket() -> ObjectStoragePath:
    """A fresh folder of a storage that is not this machine's file system."""
    attach("memory", fs=fsspec.filesystem("memory"))
    return ObjectStoragePath(f"memory://bucket-{uuid.uuid4().hex}/clips")


def requests_to(server: SandboxServer, beginning: str) -> int:
    """How many requests went to a route, such as ``"GET /cdn/"``."""
    return sum(count for route, count in server.requests()["counts"].items() if route.startswith(beginning))
