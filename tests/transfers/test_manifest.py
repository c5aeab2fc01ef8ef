"""The manifest: what it says, where it stands, and that a folder which has it is complete."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioFileError,
    ScenarioTransferError,
)
from airflow_provider_scenario.files.manifest import LARGEST, Manifest, SavedFile, facts_of, manifest_name
from airflow_provider_scenario.files.naming import name_in_common_folder
from airflow_provider_scenario.files.storage import LocalFolder
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.transfers.conftest import TaskInstance

PROMPT = "Ein Boot für alle"


def save(context: dict[str, Any], **arguments: Any) -> list[dict[str, Any]]:
    return ScenarioToObjectStorageOperator(task_id="save", **arguments).execute(context)


def finished_job(server: SandboxServer) -> Job:
    """Make a job that has succeeded, and give it."""
    with ScenarioHook().get_conn() as client:
        server.configure(render="tiny", job_seconds=0)
        job = client.send(calls.submit("model_wan-2-1-1-3b", {"prompt": PROMPT, "seed": 7})).job
        while not job.is_finished:
            time.sleep(0.05)
            job = client.send(calls.get_job(job.id))
    return job


def a_file(asset_id: str, job_id: str | None = None) -> SavedFile:
    return SavedFile(f"file:///data/{asset_id}.mp4", asset_id, "00", 5, "video/mp4", width=16, height=9, job_id=job_id)


def a_job(job_id: str, **facts: Any) -> Job:
    return Job(job_id, JobStatus.SUCCESS, **facts)


# --- What it says


@pytest.mark.parametrize("by", ["job_id", "asset_ids"])
def test_it_tells_all_of_a_job_and_its_files(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, by: str
) -> None:
    job = finished_job(scenario)
    which: dict[str, Any] = {"job_id": job.id} if by == "job_id" else {"asset_ids": list(job.asset_ids)}
    files = save(context, destination=str(tmp_path), **which)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == context["ti"].xcoms["manifest"]
    assert manifest["uri"] == f"file://{tmp_path}/manifest.json"
    assert manifest["files"] == files
    for file in files:
        content = Path(file["uri"].removeprefix("file://")).read_bytes()
        assert (file["sha256"], file["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
        assert file["job_id"] == job.id
        assert file["mime_type"] == "video/mp4"
        assert min(file["width"], file["height"], file["duration"], file["frame_rate"]) > 0
    (entry,) = scenario.ledger()["entries"]
    (told,) = manifest["jobs"]
    assert (told["job_id"], told["model_id"], told["seed"]) == (job.id, "model_wan-2-1-1-3b", 7)
    assert float(told["cost"]) == entry["charged"]
    assert told["inputs"]["prompt"] == PROMPT
    assert "modelId" not in told["inputs"]
    assert datetime.datetime.fromisoformat(told["created_at"]) <= datetime.datetime.fromisoformat(told["updated_at"])


def test_an_upload_has_no_job(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    save(context, asset_ids=scenario.make_asset(50_000), destination=str(tmp_path))
    manifest = context["ti"].xcoms["manifest"]
    assert manifest["jobs"] == []
    assert manifest["files"][0]["job_id"] is None


def test_a_job_that_cannot_be_read_costs_no_file(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    job = finished_job(scenario)
    scenario.add_fault({"type": "status", "code": 404, "body": {"reason": "gone"}}, path="/v1/jobs/", times=None)
    save(context, asset_ids=list(job.asset_ids), destination=str(tmp_path))
    (told,) = context["ti"].xcoms["manifest"]["jobs"]
    assert told.pop("job_id") == job.id
    assert set(told.values()) == {None}


def test_no_url_is_in_it() -> None:
    inputs = {
        "image": "data:image/png;base64,AAAA",
        "videoUrl": "https://cdn.cloud.scenario.com/a.mp4?Policy=p&Signature=SECRET",
        "refs": ["asset_1", "https://cdn.cloud.scenario.com/b.png?Signature=SECRET"],
        "prompt": "A sign that reads: open?",
    }
    facts = facts_of(a_job("job_1", inputs=inputs))
    assert facts["inputs"]["image"] == "data:…"
    assert facts["inputs"]["prompt"] == inputs["prompt"]

    assert "SECRET" not in json.dumps(facts)


def test_a_long_prompt_that_names_a_url_is_kept_whole() -> None:
    prompt = "As in https://a.example/b?Signature=s: " + "a fox " * 1000
    assert facts_of(a_job("job_1", inputs={"prompt": prompt}))["inputs"]["prompt"] == prompt.replace(
        "?Signature=s:", "?…"
    )


def test_times_and_costs_are_exact() -> None:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, datetime.UTC)
    facts = facts_of(a_job("job_1", cost=Decimal("7.250"), created_at=at))
    assert (facts["cost"], facts["created_at"], facts["updated_at"]) == ("7.25", "2026-01-02T03:04:05.678Z", None)


# --- Flat, for Airflow's assets


def test_the_extra_of_one_file() -> None:
    manifest = Manifest("/data", [a_file("a", "job_1")], [a_job("job_1", seed=7)], "file:///data/manifest.json")
    assert manifest.event_extra() == {
        "uri": "file:///data/a.mp4",
        "asset_id": "a",
        "sha256": "00",
        "bytes": 5,
        "mime_type": "video/mp4",
        "width": 16,
        "height": 9,
        "kind": "",
        "files": 1,
        "manifest": "file:///data/manifest.json",
        "job_id": "job_1",
        "seed": 7,
    }


def test_the_extra_of_several_files() -> None:
    one_job = Manifest("/data", [a_file("a", "job_1"), a_file("b", "job_1")], [a_job("job_1", model_id="m")])
    several = {"uri": "/data", "uris": ["file:///data/a.mp4", "file:///data/b.mp4"], "asset_ids": ["a", "b"]}
    assert one_job.event_extra() == {**several, "bytes": 10, "files": 2, "job_id": "job_1", "model_id": "m"}
    jobs = [a_job("job_1", seed=1), a_job("job_2", seed=2)]
    two_jobs = Manifest("/data", [a_file("a", "job_1"), a_file("b", "job_2")], jobs)
    assert two_jobs.event_extra() == {**several, "bytes": 10, "files": 2}
    assert [one.event_extra()["seed"] for one in two_jobs.of_each_file()] == [1, 2]


# --- Where it stands


@pytest.mark.parametrize(
    ("template", "map_index", "stands"),
    [
        ("{asset_id}{ext}", -1, "manifest.json"),
        ("{asset_id}{ext}", 3, "manifest-3.json"),
        ("{job_id}/{index}{ext}", 3, "job_1/manifest.json"),
        ("all of it/{model_id}/{kind}/{job_id}/{asset_id}", -1, "all of it/model_1/manifest.json"),
        ("{asset_id}/{job_id}{ext}", 3, "manifest-3.json"),
    ],
)
def test_it_stands_in_the_folder_that_all_files_share(template: str, map_index: int, stands: str) -> None:
    name = manifest_name(True, template, map_index)
    assert name is not None
    assert name_in_common_folder(template, name, {"job_id": "job_1", "model_id": "model_1"}) == stands


def test_it_can_be_named_or_left_out() -> None:
    assert manifest_name("tall.json", "{asset_id}", 3) == "tall.json"
    assert manifest_name(False, "{asset_id}", -1) is None
    assert manifest_name("False", "{asset_id}", -1) is None, "what a template makes of it"
    assert manifest_name("True", "{asset_id}", -1) == "manifest.json"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.json", "../x", "a\\b", "a\nb", "a\ud83d", "\x7f", " ", "None"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ScenarioConfigurationError, match="plain name"):
        manifest_name(name, "{asset_id}", -1)


def test_without_one_the_xcom_still_tells(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    asset_id = scenario.make_asset(50_000)
    files = save(context, asset_ids=asset_id, destination=str(tmp_path), manifest=False)
    assert [path.name for path in tmp_path.iterdir()] == [f"{asset_id}.mp4"]
    assert context["ti"].xcoms["manifest"] == {"version": 1, "uri": None, "files": files, "jobs": []}


def test_instances_of_a_mapped_task_share_a_folder(scenario: SandboxServer, tmp_path: Path) -> None:
    for number in range(2):
        save({"ti": TaskInstance(number)}, asset_ids=scenario.make_asset(50_000), destination=str(tmp_path))
    told = [json.loads(path.read_bytes()) for path in sorted(tmp_path.glob("manifest-*.json"))]
    assert len({manifest["files"][0]["asset_id"] for manifest in told}) == 2


def test_no_file_takes_its_name(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    save(
        context,
        asset_ids=scenario.make_asset(50_000),
        destination=f"{tmp_path}/Manifest{{ext}}",
        manifest="manifest.mp4",
    )
    assert json.loads((tmp_path / "manifest.mp4").read_bytes())["files"][0]["uri"].endswith("/Manifest-2.mp4")


# --- A folder that has it is complete


@pytest.fixture(params=["local", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, bucket: ObjectStoragePath) -> ObjectStoragePath:
    return bucket if request.param == "bucket" else ObjectStoragePath(f"file://{tmp_path}")


def test_it_is_written_last_and_is_gone_while_files_change(
    scenario: SandboxServer, context: dict[str, Any], place: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [scenario.make_asset(50_000 + number) for number in range(3)]
    template = f"{place}/{{index}}{{ext}}"
    save(context, asset_ids=ids[:2], destination=template)
    assert (place / "manifest.json").exists()
    scenario.add_fault({"type": "status", "code": 404}, path=f"/assets/{ids[2]}", times=None)
    with pytest.raises(ScenarioError):
        save(context, asset_ids=[ids[1], ids[0], ids[2]], destination=template)
    assert (place / "2.mp4").exists()
    assert not (place / "manifest.json").exists()
    scenario.clear_faults()
    save(context, asset_ids=ids, destination=template)
    assert [file["asset_id"] for file in json.loads((place / "manifest.json").read_bytes())["files"]] == ids


def test_it_stays_while_nothing_changes(
    scenario: SandboxServer, context: dict[str, Any], place: ObjectStoragePath
) -> None:
    asset_id = scenario.make_asset(50_000)
    save(context, asset_ids=asset_id, destination=str(place))
    first = (place / "manifest.json").read_bytes()
    with pytest.raises(ScenarioError):
        save(context, asset_ids=[asset_id, "asset_unknown"], destination=str(place))
    assert (place / "manifest.json").read_bytes() == first
    save(context, asset_ids=asset_id, destination=str(place))
    assert (place / "manifest.json").read_bytes() == first


@pytest.mark.parametrize("content", [b'{"name": "A web app", "icons": []}', b"[1]", b"# Notes\n", b"\x89PNG\r\n\x1a\n"])
def test_a_file_of_somebody_else_is_not_replaced(
    scenario: SandboxServer, context: dict[str, Any], place: ObjectStoragePath, content: bytes
) -> None:
    asset_id = scenario.make_asset(50_000)
    (place / "manifest.json").write_bytes(content)
    with pytest.raises(ScenarioFileError, match=r"did not write.*\n.*\n.*another name") as refusal:
        save(context, asset_ids=asset_id, destination=str(place))
    assert str(place / "manifest.json") in str(refusal.value)
    assert [path.name for path in place.iterdir()] == ["manifest.json"]
    assert (place / "manifest.json").read_bytes() == content
    save(context, asset_ids=asset_id, destination=str(place), manifest="videos.json")
    assert (place / "videos.json").exists()
    assert (place / "manifest.json").read_bytes() == content


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.unfinished"])
@pytest.mark.parametrize("kind", ["text", "large", "pipe"])
def test_a_file_that_can_be_no_manifest_is_not_replaced(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"# Notes\n")
    if kind == "large":
        os.truncate(path, LARGEST + 1)
    before = path.lstat()
    with pytest.raises(ScenarioFileError, match=r"did not write.*\n.*\n.*another name"):
        save(context, asset_ids=scenario.make_asset(50_000), destination=str(tmp_path))
    assert list(tmp_path.iterdir()) == [path]
    assert (path.lstat().st_ino, path.lstat().st_mtime) == (before.st_ino, before.st_mtime)


def test_a_manifest_that_can_not_be_read_just_now_is_not_taken_for_none(
    scenario: SandboxServer, context: dict[str, Any], s3_bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = scenario.make_asset(50_000)
    save(context, asset_ids=asset_id, destination=str(s3_bucket))
    before = (s3_bucket / "manifest.json").read_bytes()

    def busy(*_: object, **__: object) -> bytes:
        raise TimeoutError("slow down")

    with monkeypatch.context() as patch:
        patch.setattr(s3_bucket.fs, "cat_file", busy)
        with pytest.raises(ScenarioTransferError, match="slow down"):
            save(context, asset_ids=asset_id, destination=str(s3_bucket))
    assert (s3_bucket / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b'{\n  "version": 1,\n  "uri": "file:'])
def test_what_is_left_of_a_manifest_is_replaced(
    scenario: SandboxServer, context: dict[str, Any], place: ObjectStoragePath, content: bytes
) -> None:
    asset_id = scenario.make_asset(50_000)
    (place / "manifest.json").write_bytes(content)
    save(context, asset_ids=asset_id, destination=str(place))
    assert json.loads((place / "manifest.json").read_bytes())["files"][0]["asset_id"] == asset_id


def test_it_is_never_half_there(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(manifest: Manifest) -> Any:
        raise RuntimeError("the worker is stopped")

    asset_id = scenario.make_asset(50_000)
    monkeypatch.setattr(Manifest, "content", torn)
    with pytest.raises(RuntimeError):
        save(context, asset_ids=asset_id, destination=str(tmp_path))
    # What is saved is listed for a retry, under a name that no reader takes for the manifest.
    assert {path.name for path in tmp_path.iterdir()} == {f"{asset_id}.mp4", "manifest.json.unfinished"}


def test_a_disk_that_fills_up_at_the_very_end_leaves_no_half_manifest(tmp_path: Path) -> None:
    local = LocalFolder(tmp_path)

    def half(file: Any) -> None:
        file.write(b"{")
        raise OSError(28, "No space left on device")

    with pytest.raises(ScenarioError, match="no space left"):
        local.store("manifest.json", half)
    assert list(tmp_path.iterdir()) == []
