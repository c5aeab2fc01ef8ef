"""From Scenario to folders and buckets, over real HTTP."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset, AssetAlias, ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem
from jinja2 import StrictUndefined

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioFileError,
    ScenarioNotFoundError,
    ScenarioTransferError,
)
from airflow_provider_scenario.files import storage
from airflow_provider_scenario.files.storage import LocalFolder
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.polling import wait
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.transfers.conftest import requests_to

SIZE = 3_000_000


def save(context: dict[str, Any], **arguments: Any) -> list[dict[str, Any]]:
    outlets = arguments.pop("outlets", [])
    return ScenarioToObjectStorageOperator(task_id="save", outlets=outlets, **arguments).execute(context)


def truth(asset_id: str, *, original: bool) -> bytes:
    """The asset's bytes, fetched by other means than those under test."""
    import requests

    with ScenarioHook().get_conn() as client:
        return requests.get(client.send(calls.get_asset(asset_id, original=original)).url, timeout=30).content


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files_in(folder: Path) -> list[str]:
    """Give the files in a folder but the manifest, which test_manifest.py is about."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return [name for name in found if Path(name).name not in ("manifest.json", "manifest.json.unfinished")]


@pytest.fixture(params=[True, False], ids=["original", "transformed"])
def original(request: pytest.FixtureRequest) -> bool:
    """Both kinds of file: one whose size Scenario records, and one only the CDN knows."""
    return bool(request.param)


def test_a_file_is_saved(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, original: bool) -> None:
    asset_id = scenario.make_asset(SIZE)
    content = truth(asset_id, original=original)
    folder = tmp_path / "new folder" / "für alle"
    [fact] = save(context, asset_ids=asset_id, destination=str(folder), original=original)
    path = folder / f"{asset_id}.mp4"
    assert path.read_bytes() == content
    assert fact == {
        "uri": f"file://{path}",
        "asset_id": asset_id,
        "sha256": digest(content),
        "bytes": len(content),
        "mime_type": "video/mp4",
        "width": 64,
        "height": 64,
        "duration": 0.5,
        "frame_rate": 16.0,
        "kind": "video",
        "job_id": None,
    }
    assert json.loads(json.dumps(fact)) == fact
    assert ObjectStoragePath(fact["uri"]).read_bytes() == content
    assert files_in(tmp_path) == [str(path.relative_to(tmp_path))]


def test_a_file_is_saved_in_another_storage(
    scenario: SandboxServer, context: dict[str, Any], bucket: ObjectStoragePath
) -> None:
    asset_id = scenario.make_asset(SIZE)
    [fact] = save(context, asset_ids=[asset_id], destination=bucket, original=True)
    assert fact["uri"] == f"{bucket}/{asset_id}.mp4"
    assert digest(ObjectStoragePath(fact["uri"]).read_bytes()) == fact["sha256"]
    before = requests_to(scenario, "GET /cdn/")
    assert save(context, asset_ids=[asset_id], destination=bucket, original=True) == [fact]
    assert requests_to(scenario, "GET /cdn/") == before


def test_the_outputs_of_a_job_are_saved_by_a_template(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    [job_id] = scenario.make_jobs(1)
    scenario.finish_job(job_id)
    undefined: Any = StrictUndefined(name="missing")
    destination = f"{tmp_path}/{{job_id}}/{{index:03d}}{{ext}}"
    facts = save(context, job_id=job_id, destination=destination, project_id=undefined)
    assert files_in(tmp_path) == [f"{job_id}/001.mp4"]
    assert len(facts) == 1


@pytest.mark.parametrize("status", ["failure", "canceled"])
def test_a_job_that_failed_has_nothing_to_save(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, status: str
) -> None:
    [job_id] = scenario.make_jobs(1)
    scenario.set_job(job_id, status, error="the video is too dark", hint="brighten it")
    with pytest.raises(ScenarioFileError) as refusal:
        save(context, job_id=job_id, destination=str(tmp_path))
    assert job_id in str(refusal.value)
    assert refusal.value.job_id == job_id
    assert status != "failure" or "the video is too dark (brighten it)" in str(refusal.value)


@pytest.mark.parametrize("asset_ids", [["asset_1", None], []], ids=["one of two", "none"])
def test_a_job_whose_outputs_one_reply_lacks_is_read_again(
    scenario: SandboxServer,
    context: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asset_ids: list[str | None],
) -> None:
    monkeypatch.setattr(wait, "OUTPUTS_PAUSE", 0.05)
    [job_id] = scenario.make_jobs(1)
    scenario.finish_job(job_id)
    job = {"jobId": job_id, "status": "success", "metadata": {"assetIds": asset_ids}}
    reply = {"type": "status", "code": 200, "body": {"job": job}}
    scenario.add_fault(reply, method="GET", path=f"/jobs/{job_id}", times=1)
    (fact,) = save(context, job_id=job_id, destination=str(tmp_path))
    assert fact["asset_id"] != "asset_1"


def test_what_a_job_shows_is_saved_though_some_of_its_outputs_stay_hidden(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "OUTPUTS_PAUSE", 0.05)
    [job_id] = scenario.make_jobs(1)
    asset_id = scenario.make_asset(SIZE)
    job = {"jobId": job_id, "status": "success", "metadata": {"assetIds": [asset_id, None]}}
    reply = {"type": "status", "code": 200, "body": {"job": job}}
    scenario.add_fault(reply, method="GET", path=f"/jobs/{job_id}", times=None)
    (fact,) = save(context, job_id=job_id, destination=str(tmp_path))
    assert fact["asset_id"] == asset_id


def test_a_job_that_still_runs_is_a_passing_error(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    [job_id] = scenario.make_jobs(1)
    with pytest.raises(ScenarioTransferError, match="has not ended"):
        save(context, job_id=job_id, destination=str(tmp_path))


def test_several_files_keep_their_order(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    ids = [scenario.make_asset(SIZE - 1000 * number) for number in range(6)]
    facts = save(context, asset_ids=str(ids), destination=str(tmp_path), original=True)
    assert [fact["asset_id"] for fact in facts] == ids
    assert [fact["bytes"] for fact in facts] == [SIZE - 1000 * number for number in range(6)]
    assert files_in(tmp_path) == sorted(f"{asset_id}.mp4" for asset_id in ids)


@pytest.mark.parametrize("byte", [0, 1, 999_999, SIZE - 1])
def test_a_cut_file_is_resumed(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, original: bool, byte: int
) -> None:
    asset_id = scenario.make_asset(SIZE)
    content = truth(asset_id, original=original)
    scenario.add_fault({"type": "cut_at", "byte": byte}, method="GET", path="/cdn/", times=1)
    [fact] = save(context, asset_ids=asset_id, destination=str(tmp_path), original=original)
    assert fact["sha256"] == digest(content) == digest((tmp_path / f"{asset_id}.mp4").read_bytes())


def test_a_file_that_is_cut_all_the_way_arrives(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, original: bool
) -> None:
    asset_id = scenario.make_asset(SIZE)
    content = truth(asset_id, original=original)
    scenario.add_fault({"type": "cut_body", "bytes": 400_000}, method="GET", path="/cdn/", times=6)
    scenario.add_fault("status", method="GET", path="/cdn/", times=1)
    [fact] = save(context, asset_ids=asset_id, destination=str(tmp_path), original=original)
    assert fact["sha256"] == digest(content)


@pytest.mark.parametrize(
    "action",
    [
        "wrong_length",
        "short_body",
        "drop_before",
        {"type": "drop_before", "reset": True},
        {"type": "status", "code": 403},
        {"type": "status", "code": 503},
        {"type": "status", "code": 302, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
    ],
    ids=str,
)
def test_trouble_that_passes_is_outlasted(
    scenario: SandboxServer,
    context: dict[str, Any],
    tmp_path: Path,
    original: bool,
    action: dict[str, Any] | str,
) -> None:
    asset_id = scenario.make_asset(SIZE)
    content = truth(asset_id, original=original)
    scenario.add_fault(action, method="GET", path="/cdn/", times=1)
    [fact] = save(context, asset_ids=asset_id, destination=str(tmp_path), original=original)
    assert fact["sha256"] == digest(content) == digest((tmp_path / f"{asset_id}.mp4").read_bytes())


@pytest.mark.parametrize("action", ["wrong_length", "short_body", "drop_before", "status"])
def test_trouble_that_stays_leaves_no_file(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, action: str
) -> None:
    asset_id = scenario.make_asset(SIZE)
    scenario.add_fault(action, method="GET", path="/cdn/", times=None)
    with pytest.raises(ScenarioTransferError) as failure:
        save(context, asset_ids=asset_id, destination=str(tmp_path), original=True)
    assert asset_id in str(failure.value)
    assert "Signature" not in str(failure.value)
    assert files_in(tmp_path) == []


def test_a_url_that_ends_on_the_way_is_renewed(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    asset_id = scenario.make_asset(SIZE)
    content = truth(asset_id, original=True)
    scenario.configure(url_ttl_seconds=1)  # the sandbox rounds the end of a URL up to a whole second
    scenario.add_fault({"type": "cut_at", "byte": 1_000_000}, method="GET", path="/cdn/", times=1)
    scenario.add_fault({"type": "delay", "seconds": 2.2}, method="GET", path="/cdn/", times=1)
    [fact] = save(context, asset_ids=asset_id, destination=str(tmp_path), original=True)
    assert fact["sha256"] == digest(content)
    statuses = [visit["status"] for visit in scenario.requests()["recent"] if visit["path"].startswith("/cdn/")]
    assert statuses == [200, 200, 403, 206]


@pytest.mark.parametrize("seed", range(12))
def test_a_connection_that_breaks_anywhere_again_and_again(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, original: bool, seed: int
) -> None:
    asset_id = scenario.make_asset(SIZE)
    content = truth(asset_id, original=original)
    for number in range(5):
        scenario.add_fault({"type": "cut_at", "seed": 5 * seed + number}, method="GET", path="/cdn/", times=1)
        scenario.add_fault("status", method="GET", path="/cdn/", times=1)
    [fact] = save(context, asset_ids=asset_id, destination=str(tmp_path), original=original)
    assert fact["sha256"] == digest(content) == digest((tmp_path / f"{asset_id}.mp4").read_bytes())


def test_a_file_that_is_there_is_not_fetched_again(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, original: bool
) -> None:
    asset_id = scenario.make_asset(SIZE)
    first = save(context, asset_ids=asset_id, destination=str(tmp_path), original=original)
    written = (tmp_path / f"{asset_id}.mp4").stat().st_mtime_ns
    assert save(context, asset_ids=asset_id, destination=str(tmp_path), original=original) == first
    assert (tmp_path / f"{asset_id}.mp4").stat().st_mtime_ns == written


def test_a_file_that_is_there_and_wrong_is_replaced(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    asset_id = scenario.make_asset(SIZE)
    (tmp_path / f"{asset_id}.mp4").write_bytes(b"half")
    [fact] = save(context, asset_ids=asset_id, destination=str(tmp_path), original=True)
    assert digest((tmp_path / f"{asset_id}.mp4").read_bytes()) == fact["sha256"]


def test_a_name_without_the_asset_id_proves_nothing(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    asset_id = scenario.make_asset(SIZE)
    (tmp_path / "001.mp4").write_bytes(b"\0" * SIZE)
    [fact] = save(context, asset_ids=asset_id, destination=f"{tmp_path}/{{index:03d}}{{ext}}", original=True)
    assert digest((tmp_path / "001.mp4").read_bytes()) == fact["sha256"]


def test_one_lost_asset_does_not_keep_the_others(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    ids = [scenario.make_asset(SIZE), "asset_unknown", scenario.make_asset(SIZE)]
    with pytest.raises(ScenarioNotFoundError) as failure:
        save(context, asset_ids=ids, destination=str(tmp_path))
    assert "asset_unknown" in str(failure.value)
    assert "1 of 3 files" in failure.value.__notes__[0]
    assert files_in(tmp_path) == sorted(f"{asset_id}.mp4" for asset_id in (ids[0], ids[2]))


@pytest.mark.parametrize("reply", [{"status": "error"}, {"status": "pending"}])
def test_an_asset_without_a_file(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, reply: dict[str, str]
) -> None:
    asset = {"id": "asset_1", "url": "", "kind": "video", "mimeType": "video/mp4", **reply}
    scenario.add_fault({"type": "status", "code": 200, "body": {"asset": asset}}, path="/assets/asset_1", times=None)
    expected = ScenarioFileError if reply["status"] == "error" else ScenarioTransferError
    with pytest.raises(expected, match="asset_1"):
        save(context, asset_ids="asset_1", destination=str(tmp_path), asset_timeout=0.3)
    assert files_in(tmp_path) == []


def test_a_pending_asset_is_waited_for(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    asset_id = scenario.make_asset(SIZE)
    asset = {"id": asset_id, "url": "", "kind": "video", "mimeType": "video/mp4", "status": "pending"}
    scenario.add_fault({"type": "status", "code": 200, "body": {"asset": asset}}, path=f"/v1/assets/{asset_id}")
    [fact] = save(context, asset_ids=asset_id, destination=str(tmp_path), original=True)
    assert fact["bytes"] == SIZE


def test_a_file_where_the_folder_should_be(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for destination in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ScenarioFileError) as refusal:
            save(context, asset_ids="asset_1", destination=str(destination))
        assert str(destination) in str(refusal.value)
        assert "Nothing was lost at Scenario" in str(refusal.value)
    assert scenario.requests()["counts"] == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(scenario: SandboxServer, context: dict[str, Any], small_disk: Path) -> None:
    asset_id = scenario.make_asset(SIZE)
    with pytest.raises(ScenarioFileError) as refusal:
        save(context, asset_ids=asset_id, destination=str(small_disk))
    assert f"no space left in {small_disk}" in str(refusal.value)
    assert "free; no new job is bought" in str(refusal.value)
    assert files_in(small_disk) == []


def test_a_full_folder_for_temporary_files(
    scenario: SandboxServer,
    context: dict[str, Any],
    small_disk: Path,
    s3_bucket: ObjectStoragePath,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asset_id = scenario.make_asset(SIZE)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(ScenarioFileError, match="let TMPDIR name a larger folder") as refusal:
        save(context, asset_ids=asset_id, destination=f"{s3_bucket}/full")
    assert f"no space left in {small_disk}" in str(refusal.value)
    assert "another destination" not in str(refusal.value)
    assert "free; no new job is bought" in str(refusal.value)


def test_a_limit_for_the_size_of_files(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    asset_id = scenario.make_asset(SIZE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        with pytest.raises(ScenarioFileError, match=r"larger than .* allows") as refusal:
            save(context, asset_ids=asset_id, destination=str(tmp_path), original=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "Raise the worker's limit" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_to_s3_and_back_under_an_odd_name(
    scenario: SandboxServer, context: dict[str, Any], s3_bucket: ObjectStoragePath
) -> None:
    asset_id = scenario.make_asset(SIZE)
    destination = f"{s3_bucket}/für alle + mehr"
    [fact] = save(context, asset_ids=asset_id, destination=destination, original=True)
    assert fact["uri"] == f"{destination}/{asset_id}.mp4"
    manifest = json.loads(ObjectStoragePath(f"{destination}/manifest.json").read_bytes())
    assert manifest["files"] == [fact]
    before = requests_to(scenario, "GET /cdn/")
    assert save(context, asset_ids=asset_id, destination=destination, original=True) == [fact]
    assert requests_to(scenario, "GET /cdn/") == before
    upload = ObjectStorageToScenarioOperator(task_id="send", source=fact["uri"], poll_interval=0.05)
    assert digest(truth(upload.execute(context), original=True)) == fact["sha256"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_refuses(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asset_id = scenario.make_asset(SIZE)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ScenarioFileError) as refusal:
        save(context, asset_ids=asset_id, destination=str(tmp_path))
    assert str(tmp_path) in str(refusal.value)


@pytest.mark.parametrize("destination", ["nosuch://bucket/clips", "s3x://b", "clips", "", "/data/{nothing}"])
def test_a_destination_that_cannot_be_is_found_before_any_request(
    scenario: SandboxServer, context: dict[str, Any], destination: str
) -> None:
    with pytest.raises((ScenarioFileError, ScenarioConfigurationError)):
        save(context, asset_ids="asset_1", destination=destination)
    assert scenario.requests()["counts"] == {}


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ({}, "one of them. Both came out empty: the task they come from may have been skipped"),
        ({"asset_ids": "asset_1", "job_id": "job_1"}, "one of them, not both"),
    ],
)
def test_assets_or_a_job(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, which: dict[str, str], says: str
) -> None:
    with pytest.raises(ScenarioConfigurationError, match=says):
        save(context, destination=str(tmp_path), **which)


@pytest.mark.parametrize("asset_id", ["../asset", "/etc/passwd", "a/../../b"])
def test_an_id_that_is_a_path_is_refused(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, asset_id: str
) -> None:
    with pytest.raises(ScenarioConfigurationError, match="no asset id"):
        save(context, asset_ids=[asset_id], destination=str(tmp_path))
    assert scenario.requests()["counts"] == {}


def test_a_put_that_fails_leaves_no_half_object(
    scenario: SandboxServer,
    context: dict[str, Any],
    bucket: ObjectStoragePath,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asset_id = scenario.make_asset(SIZE)

    def put_half(storage: MemoryFileSystem, local: str, remote: str, **_: object) -> None:
        storage.pipe_file(remote, Path(local).read_bytes()[:1000])
        raise ConnectionError("broken")

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_half)
    with pytest.raises(ScenarioTransferError, match="broken"):
        save(context, asset_ids=asset_id, destination=bucket)
    assert not (bucket / f"{asset_id}.mp4").exists()


def test_a_put_that_loses_bytes_is_noticed(
    scenario: SandboxServer,
    context: dict[str, Any],
    bucket: ObjectStoragePath,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asset_id = scenario.make_asset(SIZE)

    def put_half(storage: MemoryFileSystem, local: str, remote: str, **_: object) -> None:
        storage.pipe_file(remote, Path(local).read_bytes()[:1000])

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_half)
    with pytest.raises(ScenarioTransferError, match="has 1000 bytes"):
        save(context, asset_ids=asset_id, destination=bucket)
    assert not (bucket / f"{asset_id}.mp4").exists()


def test_a_killed_task_stops_and_leaves_nothing(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    asset_id = scenario.make_asset(SIZE)
    scenario.add_fault({"type": "trickle", "bytes_per_second": 500_000}, path="/cdn/", times=None)
    operator = ScenarioToObjectStorageOperator(task_id="save", asset_ids=asset_id, destination=str(tmp_path))

    def kill_when_begun() -> None:
        while not list(tmp_path.glob("*.part")):
            time.sleep(0.02)
        operator.on_kill()

    threading.Thread(target=kill_when_begun, daemon=True).start()
    with pytest.raises(ScenarioTransferError, match="was stopped"):
        operator.execute(context)
    assert files_in(tmp_path) == []


def test_a_task_killed_before_it_opened_anything_fetches_nothing(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = scenario.make_asset(SIZE)
    operator = ScenarioToObjectStorageOperator(task_id="save", asset_ids=asset_id, destination=str(tmp_path))
    folder_at = storage.folder_at

    def killing(*arguments: Any) -> Any:
        operator.on_kill()
        return folder_at(*arguments)

    monkeypatch.setattr(storage, "folder_at", killing)
    with pytest.raises(ScenarioTransferError, match="was stopped"):
        operator.execute(context)
    assert files_in(tmp_path) == []


def test_the_manifest_is_begun_only_when_bytes_and_names_are_on_the_disk(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured: list[str] = []

    def fsync(number: int) -> None:
        secured.append(Path(f"/proc/self/fd/{number}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    destination = tmp_path / "clips"
    asset_id = scenario.make_asset(SIZE)
    save(context, asset_ids=asset_id, destination=str(destination))
    assert [name.partition(".mp4.")[0].partition(".json.")[0] for name in secured] == [
        "manifest",  # The list of what is saved already: nothing. It shows that this folder takes files.
        "clips",
        asset_id,
        "clips",
        "manifest",  # The list of what is saved, for a retry: not before the file itself.
        "clips",
        "manifest",
        "clips",
    ]
    assert [name.count(".unfinished") for name in secured] == [1, 0, 0, 0, 1, 0, 0, 0]


def test_a_saved_file_that_vanishes_while_it_is_looked_at_is_fetched_again(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = scenario.make_asset(SIZE)
    first = save(context, asset_ids=asset_id, destination=str(tmp_path))
    look = LocalFolder.has

    def vanish(folder: LocalFolder, name: str, size: int, sha256: str) -> bool:
        folder.remove(name)
        return look(folder, name, size, sha256)

    monkeypatch.setattr(LocalFolder, "has", vanish)
    assert save(context, asset_ids=asset_id, destination=str(tmp_path)) == first
    assert files_in(tmp_path) == [f"{asset_id}.mp4"]


def test_what_a_killed_process_left_is_removed_but_not_what_is_being_written(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    (tmp_path / "clip.mp4.0a0b0c0d.part").write_bytes(b"left")
    (tmp_path / "clip.mp4.notes").write_bytes(b"kept")

    def fill(file: Any) -> None:
        assert len([name for name in files_in(tmp_path) if name.endswith(".part")]) == 1
        file.write(b"whole")
        if not nested:
            nested.append(True)
            folder.store("clip.mp4", fill_nested)

    def fill_nested(file: Any) -> None:
        assert len([name for name in files_in(tmp_path) if name.endswith(".part")]) == 2
        file.write(b"other")

    nested: list[bool] = []
    folder.store("clip.mp4", fill)
    assert (tmp_path / "clip.mp4").read_bytes() == b"whole"
    assert files_in(tmp_path) == ["clip.mp4", "clip.mp4.notes"]


class Events:
    """What Airflow keeps of an outlet's events."""

    def __init__(self) -> None:
        self.extra: dict[str, Any] = {}
        self.added: list[tuple[Asset, dict[str, Any]]] = []

    def add(self, asset: Asset, extra: dict[str, Any]) -> None:
        self.added.append((asset, extra))


class OutletEvents:
    """What Airflow keeps of all outlets' events, by name: on 3.1 an asset has no hash."""

    def __init__(self) -> None:
        self.of: dict[str, Events] = {}

    def __getitem__(self, outlet: Asset | AssetAlias) -> Events:
        return self.of.setdefault(outlet.name, Events())


def test_airflow_assets_are_told(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    asset, alias = Asset("clips"), AssetAlias("each clip")
    context["outlet_events"] = OutletEvents()
    ids = [scenario.make_asset(SIZE), scenario.make_asset(SIZE + 1)]
    folder = tmp_path / "für alle"
    facts = save(context, asset_ids=ids, destination=str(folder), original=True, outlets=[asset, alias])
    assert context["outlet_events"][asset].extra == {
        "uri": f"file://{folder}",
        "uris": [fact["uri"] for fact in facts],
        "asset_ids": ids,
        "bytes": 2 * SIZE + 1,
        "files": 2,
        "manifest": f"file://{folder}/manifest.json",
    }
    added = context["outlet_events"][alias].added
    assert [extra["asset_id"] for _, extra in added] == ids
    assert all(one.uri.isascii() for one, _ in added)
    assert urlsplit(added[0][0].uri).scheme == "file"


def test_nothing_told_holds_a_signed_url(
    scenario: SandboxServer,
    context: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asset_id = scenario.make_asset(SIZE)
    scenario.add_fault({"type": "cut_at", "byte": 1000}, path="/cdn/", times=1)
    with caplog.at_level(logging.DEBUG):
        facts = save(context, asset_ids=asset_id, destination=str(tmp_path))
    told = json.dumps(facts) + caplog.text + "".join(capsys.readouterr())
    assert f"Saved file://{tmp_path}/{asset_id}.mp4: 3.0 MB, " in told
    assert re.findall(r"(?:Signature|Policy)=[^…]", told) == []
    assert scenario.api_secret not in told
    assert "Authorization" not in told
