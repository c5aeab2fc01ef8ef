"""From files to Scenario, over real HTTP."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioFileError,
    ScenarioInputError,
    ScenarioTimeoutError,
    ScenarioTransferError,
)
from airflow_provider_scenario.files import upload
from airflow_provider_scenario.files.source import SourceFile, find_source
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.this_airflow import has_task_state_store, needs_task_state_store
from tests.transfers.conftest import TaskInstance, requests_to

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

BIG = 20_000_000


def send(context: dict[str, Any], **arguments: Any) -> str:
    return ObjectStorageToScenarioOperator(task_id="send", poll_interval=0.05, **arguments).execute(context)


def asset_at_scenario(asset_id: str) -> Asset:
    with ScenarioHook().get_conn() as client:
        return client.send(calls.get_asset(asset_id, original=True))


def pad(path: Path, size: int) -> Path:
    """Make a clip as long as ``size`` with a box that players skip."""
    padding = size - path.stat().st_size
    with path.open("ab") as file:
        file.write((1).to_bytes(4, "big") + b"free" + padding.to_bytes(8, "big"))
        file.truncate(size)
    return path


def test_a_task_that_is_ended_before_it_has_begun_sends_nothing(
    scenario: SandboxServer, context: dict[str, Any], small_clip: Path
) -> None:
    operator = ObjectStorageToScenarioOperator(task_id="send", source=str(small_clip))
    operator.on_kill()
    with pytest.raises(ScenarioTransferError, match="stopped"):
        operator.execute(context)
    assert requests_to(scenario, "POST") == 0


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=0.5, width=64, height=64)


@pytest.fixture
def clip(tmp_path: Path, small_clip: Path) -> Path:
    path = tmp_path / "a clip für alle.mp4"
    path.write_bytes(small_clip.read_bytes())
    return path


def test_an_image_goes_in_one_call(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    image = draw_image(tmp_path / "image.png", width=64, height=48)
    asset = asset_at_scenario(send(context, source=str(image)))
    assert (asset.kind, asset.mime_type, asset.size) == ("image", "image/png", image.stat().st_size)
    assert requests_to(scenario, "POST /v1/uploads") == 0


def test_a_clip_goes_in_parts(scenario: SandboxServer, context: dict[str, Any], clip: Path) -> None:
    asset = asset_at_scenario(send(context, source=f"file://{clip}"))
    assert (asset.kind, asset.mime_type, asset.size) == ("video", "video/mp4", clip.stat().st_size)
    assert requests_to(scenario, "PUT /bucket/") == 1


def test_a_large_clip_arrives_whole(
    scenario: SandboxServer, context: dict[str, Any], clip: Path, tmp_path: Path
) -> None:
    pad(clip, BIG)
    scenario.add_fault({"type": "status", "code": 503}, method="PUT", path="/bucket/", skip=1, times=1)
    scenario.add_fault("drop_before", method="PUT", path="/bucket/", skip=1, times=1)
    scenario.add_fault({"type": "status", "code": 500}, method="GET", path="/v1/uploads/", times=1)
    asset_id = send(context, source=str(clip))
    assert requests_to(scenario, "PUT /bucket/") == 5
    [fact] = ScenarioToObjectStorageOperator(
        task_id="save", asset_ids=asset_id, destination=str(tmp_path / "back"), original=True
    ).execute(context)
    assert fact["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()


@pytest.mark.parametrize(("stopped_at", "begun"), [("find", 0), ("start_upload", 1), ("put_part", 1)])
def test_a_killed_task_sends_nothing_more(
    scenario: SandboxServer,
    context: dict[str, Any],
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped_at: str,
    begun: int,
) -> None:
    pad(clip, BIG)
    monkeypatch.setattr(upload, "PARALLEL", 1)
    with ScenarioHook().get_conn() as client:
        uploader = upload.FileSender(client, logging.getLogger("tests"))
        put_part, start_upload = client.put_part, upload.calls.start_upload

        def put_and_stop(*arguments: Any) -> int:
            if stopped_at == "put_part":
                uploader.stop()
            return put_part(*arguments)

        def start_and_stop(*arguments: Any, **more: Any) -> Any:
            if stopped_at == "start_upload":
                uploader.stop()
            return start_upload(*arguments, **more)

        monkeypatch.setattr(client, "put_part", put_and_stop)
        monkeypatch.setattr(upload.calls, "start_upload", start_and_stop)
        if stopped_at == "find":
            uploader.stop()
        with pytest.raises(ScenarioTransferError, match="was stopped"):
            uploader.send(find_source(str(clip)), "clip")
    assert requests_to(scenario, "POST /v1/uploads") == begun, "none was completed"
    assert requests_to(scenario, "PUT /bucket/") == (1 if stopped_at == "put_part" else 0)


def test_a_large_image_goes_in_parts(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "LARGEST_DIRECT_IMAGE", 100)
    image = draw_image(tmp_path / "image.jpg", width=64, height=48)
    asset = asset_at_scenario(send(context, source=str(image)))
    assert (asset.kind, asset.size) == ("image", image.stat().st_size)
    assert requests_to(scenario, "POST /v1/uploads") > 0


def test_a_clip_of_another_storage(
    scenario: SandboxServer, context: dict[str, Any], bucket: ObjectStoragePath, small_clip: Path
) -> None:
    source = bucket / "clip.mp4"
    source.write_bytes(small_clip.read_bytes())
    assert asset_at_scenario(send(context, source=source)).size == small_clip.stat().st_size
    assert asset_at_scenario(send(context, source=str(source))).kind == "video"


def test_the_name(scenario: SandboxServer, context: dict[str, Any], clip: Path) -> None:
    send(context, source=str(clip), name="the opening")
    send({"ti": TaskInstance()}, source=str(clip))
    listed = [visit["path"] for visit in scenario.requests()["recent"] if visit["method"] == "POST"]
    assert len([path for path in listed if path == "/v1/uploads"]) == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "gone.mp4", "There is no file"),
        (lambda folder: folder / "no" / "gone.mp4", "There is no file"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: (folder / "empty.mp4", (folder / "empty.mp4").touch())[0], "is empty"),
        (lambda folder: (folder / "notes.txt", (folder / "notes.txt").write_text("hello"))[0], "is no video"),
        (lambda folder: "nosuch://bucket/clip.mp4", "nosuch://"),
        (lambda folder: "clip.mp4", "neither a URI nor an absolute path"),
        (lambda folder: "", "source is empty"),
        (lambda folder: "/dev/null", "no regular file"),
        (lambda folder: (folder / "pipe.mp4", os.mkfifo(folder / "pipe.mp4"))[0], "no regular file"),
        (lambda folder: (folder / "loop.mp4", (folder / "loop.mp4").symlink_to("loop.mp4"))[0], "There is no file"),
        (lambda folder: (folder / "lost.mp4", (folder / "lost.mp4").symlink_to("gone.mp4"))[0], "There is no file"),
        (lambda folder: folder / ("x" * 300), "File name too long"),
        (lambda folder: f"{folder}/a\0b.mp4", "control characters are refused"),
        (lambda folder: f"{folder}/a\nb.mp4", "control characters are refused"),
    ],
)
def test_a_source_that_cannot_be_sent(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, make: Any, says: str
) -> None:
    with pytest.raises(ScenarioFileError) as refusal:
        send(context, source=str(make(tmp_path)))
    assert says in str(refusal.value)
    assert scenario.requests()["counts"] == {}


@pytest.mark.parametrize(
    "name",
    ["e\u0301.mp4", "caf\xe9 \U0001f6a4.mp4", "\udcff\udcfe.mp4", "100%25 #1?.mp4", "y" * 251 + ".mp4", "a*[b].mp4"],
)
def test_an_odd_name_is_a_name(
    scenario: SandboxServer, context: dict[str, Any], clip: Path, tmp_path: Path, name: str
) -> None:
    clip.rename(tmp_path / name)
    assert send(context, source=str(tmp_path / name)).startswith("asset_")


def test_a_missing_object_of_another_storage(
    scenario: SandboxServer, context: dict[str, Any], bucket: ObjectStoragePath
) -> None:
    with pytest.raises(ScenarioFileError, match="There is no file"):
        send(context, source=bucket / "gone.mp4")
    assert scenario.requests()["counts"] == {}


def test_what_scenario_cannot_import(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, small_clip: Path
) -> None:
    (tmp_path / "noise.mp4").write_bytes(small_clip.read_bytes().replace(b"avc1", b"none").replace(b"avcC", b"none"))
    with pytest.raises(ScenarioFileError, match=r"Scenario could not import noise\.mp4: \S+"):
        send(context, source=str(tmp_path / "noise.mp4"))
    if has_task_state_store():
        assert context["task_state_store"].get("scenario_uploads") == {}


def test_an_image_scenario_refuses(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + b"noise" * 40 + b"\0\0\0\0IEND\xaeB`\x82")
    with pytest.raises(ScenarioInputError, match=r"upload noise\.png"):
        send(context, source=str(tmp_path / "noise.png"))


@needs_task_state_store
@pytest.mark.parametrize("kind", ["clip", "image"])
def test_a_retry_does_not_send_again(
    scenario: SandboxServer, context: dict[str, Any], clip: Path, tmp_path: Path, kind: str
) -> None:
    source = clip if kind == "clip" else draw_image(tmp_path / "image.png")
    asset_id = send(context, source=str(source))
    before = requests_to(scenario, "POST ") + requests_to(scenario, "PUT ")
    assert send(context, source=str(source)) == asset_id
    assert requests_to(scenario, "POST ") + requests_to(scenario, "PUT ") == before


@needs_task_state_store
def test_other_bytes_of_the_same_size_are_sent(scenario: SandboxServer, context: dict[str, Any], clip: Path) -> None:
    first = send(context, source=str(pad(clip, 100_000)))
    with clip.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert send(context, source=str(clip)) != first


@needs_task_state_store
def test_an_asset_that_is_gone_is_sent_anew(scenario: SandboxServer, context: dict[str, Any], clip: Path) -> None:
    first = send(context, source=str(clip))
    scenario.add_fault(
        {"type": "status", "code": 404, "body": {"reason": "Asset not found"}}, path=f"/v1/assets/{first}", times=1
    )
    assert send(context, source=str(clip)) != first


def test_a_link_within_its_folder_is_followed(
    scenario: SandboxServer, context: dict[str, Any], clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "newest.mp4").symlink_to(clip.name)
    (tmp_path / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    assert find_source(str(tmp_path / "newest.mp4")).size == clip.stat().st_size
    assert find_source(str(tmp_path / "elsewhere" / clip.name)).size == clip.stat().st_size


@pytest.mark.parametrize("depth", [1, 2])
def test_a_link_out_of_its_folder_is_refused(
    scenario: SandboxServer, context: dict[str, Any], clip: Path, tmp_path: Path, depth: int
) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "link1.mp4").symlink_to(clip)
    (folder / "link2.mp4").symlink_to("link1.mp4")
    (folder / "passwd.mp4").symlink_to("/etc/passwd")
    for name in (f"link{depth}.mp4", "passwd.mp4"):
        with pytest.raises(ScenarioFileError, match="is a link to a file outside its folder"):
            send(context, source=str(folder / name))
    assert scenario.requests()["counts"] == {}


def test_without_a_state_store_everything_is_sent(scenario: SandboxServer, clip: Path) -> None:
    assert send({"ti": TaskInstance()}, source=str(clip)) != send({"ti": TaskInstance()}, source=str(clip))


@needs_task_state_store
def test_a_slow_import_is_rejoined(scenario: SandboxServer, context: dict[str, Any], clip: Path) -> None:
    scenario.configure(upload_seconds=1)
    with pytest.raises(ScenarioTimeoutError, match="the next try looks for it first"):
        send(context, source=str(clip), import_timeout=0.1)
    assert asset_at_scenario(send(context, source=str(clip))).size == clip.stat().st_size
    assert requests_to(scenario, "PUT /bucket/") == 1


@pytest.mark.parametrize(
    ("action", "puts"),
    [({"type": "status", "code": 500}, 4), ("drop_before", 4), ({"type": "status", "code": 403}, 1)],
    ids=str,
)
def test_a_part_that_never_gets_through(
    scenario: SandboxServer,
    context: dict[str, Any],
    clip: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    action: Any,
    puts: int,
) -> None:
    scenario.add_fault(action, method="PUT", path="/bucket/", times=None)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ScenarioTransferError, match=r"Part 1 of .* did not get") as failure,
    ):
        send(context, source=str(clip))
    assert requests_to(scenario, "PUT /bucket/") == puts
    told = str(failure.value) + caplog.text + "".join(capsys.readouterr())
    assert re.findall(r"(?:Signature|Policy)=[^…]", told) == []
    assert scenario.api_secret not in told


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changes_while_it_is_read(
    scenario: SandboxServer, context: dict[str, Any], clip: Path, monkeypatch: pytest.MonkeyPatch, change: int
) -> None:
    found = find_source(str(clip))
    changed = SourceFile(found.path, found.name, found.size + change, found.media)
    monkeypatch.setattr("airflow_provider_scenario.files.source.find_source", lambda given: changed)
    with pytest.raises(ScenarioFileError, match="changed while it was read"):
        send(context, source=str(clip))
    assert requests_to(scenario, "POST /v1/uploads/") == 0


@pytest.mark.parametrize("numbers", [{"import_timeout": -1}, {"import_timeout": float("nan")}])
def test_numbers_out_of_range(
    scenario: SandboxServer, context: dict[str, Any], clip: Path, numbers: dict[str, float]
) -> None:
    with pytest.raises(ScenarioConfigurationError):
        send(context, source=str(clip), **numbers)
    assert scenario.requests()["counts"] == {}
