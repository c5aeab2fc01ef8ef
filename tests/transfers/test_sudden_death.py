"""kill -9 in the middle of a transfer, then the next try: nothing half is seen, nothing is left, nothing paid twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_scenario.files.parts import staging_folder
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.task_run import TaskRun
from tests.transfers.conftest import requests_to

SIZE = 5_000_000

WORKER = """
import json, sys
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.task_run import TaskRun
operator, arguments = json.loads(sys.argv[1])
print("at work", flush=True)
globals()[operator](task_id="task", **arguments).execute(TaskRun().context)
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is left behind is looked for here; the worker gets it too."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def worker() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts tasks in processes of their own; none of them outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(operator: str, **arguments: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WORKER, json.dumps([operator, arguments])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until(what: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def test_in_the_middle_of_a_download(
    scenario: SandboxServer, tmp_path: Path, worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    asset_id = scenario.make_asset(SIZE)
    scenario.add_fault({"type": "trickle", "bytes_per_second": 3_000_000}, path="/cdn/", times=1)
    arguments = {"asset_ids": asset_id, "destination": str(tmp_path), "original": True}
    process = worker("ScenarioToObjectStorageOperator", **arguments)
    wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in files_in(tmp_path)), process)
    kill(process)
    assert [path.suffix for path in files_in(tmp_path)] == [".part", ".unfinished"]
    [file] = ScenarioToObjectStorageOperator(task_id="task", **arguments).execute(TaskRun().context)
    assert [path.name for path in files_in(tmp_path)] == [f"{asset_id}.mp4", "manifest.json"]
    assert file["sha256"] == hashlib.sha256((tmp_path / f"{asset_id}.mp4").read_bytes()).hexdigest()


def test_in_the_middle_of_a_download_to_another_storage(
    scenario: SandboxServer,
    s3_bucket: ObjectStoragePath,
    own_temporary_folder: Path,
    worker: Callable[..., subprocess.Popen[bytes]],
) -> None:
    asset_id = scenario.make_asset(SIZE)
    scenario.add_fault({"type": "trickle", "bytes_per_second": 3_000_000}, path="/cdn/", times=1)
    arguments = {"asset_ids": asset_id, "destination": str(s3_bucket), "original": True}
    process = worker("ScenarioToObjectStorageOperator", **arguments)
    wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in files_in(own_temporary_folder)), process)
    kill(process)
    assert files_in(own_temporary_folder) != []
    s3_bucket.fs.invalidate_cache()
    assert [path.name for path in s3_bucket.iterdir()] == ["manifest.json.unfinished"]
    [file] = ScenarioToObjectStorageOperator(task_id="task", **arguments).execute(TaskRun().context)
    assert files_in(own_temporary_folder) == []
    assert file["sha256"] == hashlib.sha256(ObjectStoragePath(file["uri"]).read_bytes()).hexdigest()


def test_in_the_middle_of_an_upload(
    scenario: SandboxServer, tmp_path: Path, worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    scenario.configure(render="tiny", job_seconds=0, upload_seconds=0)
    clip = draw_clip(tmp_path / "clip.mp4", seconds=0.5, width=64, height=64)
    scenario.add_fault("hang", method="PUT", path="/bucket/", times=1)
    process = worker("ScenarioWan22ReframeOperator", video=str(clip), poll_interval=0.1)
    wait_until(lambda: requests_to(scenario, "PUT /bucket/"), process)
    kill(process)
    assert scenario.ledger()["totals"]["jobs"] == 0
    operator = ScenarioWan22ReframeOperator(task_id="task", video=str(clip), poll_interval=0.1)
    made = operator.execute(TaskRun().context)
    (entry,) = scenario.ledger()["entries"]
    assert made["job_id"] == entry["jobId"]


def test_what_is_in_use_is_not_cleaned_away(own_temporary_folder: Path) -> None:
    with staging_folder() as first:
        (first / "file").write_bytes(b"x")
        with staging_folder() as second:
            assert first != second
            assert (first / "file").exists()
        assert not second.exists()
    assert not first.exists()


def test_a_folder_that_another_user_has_prepared_is_not_used(own_temporary_folder: Path, tmp_path: Path) -> None:
    (own_temporary_folder / f"scenario-staging-{os.getuid()}").symlink_to(tmp_path)
    with staging_folder() as folder:
        assert folder.parent != tmp_path
        assert list(tmp_path.iterdir()) == []
