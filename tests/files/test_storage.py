"""Storages as they are: several writers, no locks, no renames, links, read-only folders, types, missing connections."""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import itertools
import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.files.location import object_path
from airflow_provider_scenario.files.manifest import Manifest, SavedFile
from airflow_provider_scenario.files.parts import staging_folder
from airflow_provider_scenario.files.storage import LocalFolder, RemoteFolder
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.figures import figure
from tests.transfers.conftest import TaskInstance, requests_to

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

SIZE = 100_000
NO_LOCKS = [errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL]


def save(**arguments: Any) -> list[dict[str, Any]]:
    run: Any = {"ti": TaskInstance(), "outlet_events": {}}
    return ScenarioToObjectStorageOperator(task_id="save", original=True, **arguments).execute(run)


def write(content: bytes) -> Any:
    def fill(file: BinaryIO) -> None:
        file.write(content)

    return fill


# --- Several writers


def _save_often(folder: str, mark: int, times: int) -> collections.Counter[str]:
    found: collections.Counter[str] = collections.Counter()
    for _ in range(times):
        try:
            LocalFolder(Path(folder)).store("clip.mp4", write(bytes([mark]) * SIZE))
            found["saved"] += 1
        except ScenarioError as error:
            found[type(error).__name__] += 1
        content = (Path(folder) / "clip.mp4").read_bytes()
        if len(content) != SIZE or len(set(content)) != 1:
            found["mixed"] += 1
    return found


def test_processes_that_save_one_name(tmp_path: Path) -> None:
    times = figure(40, 100)
    with multiprocessing.get_context("fork").Pool(6) as pool:
        found = sum(
            pool.starmap(_save_often, [(str(tmp_path), mark, times) for mark in range(1, 7)]), collections.Counter()
        )
    assert found == {"saved": 6 * times}
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_no_writer_of_an_object_removes_what_another_has_saved(s3_bucket: ObjectStoragePath) -> None:
    """Each put is whole, so a size that is not one's own is that of another's file."""

    def save_often(size: int) -> int:
        folder, saved = RemoteFolder(s3_bucket), 0
        for number in itertools.count(1):
            with contextlib.suppress(ScenarioTransferError):
                folder.store("clip.mp4", write(bytes([size]) * size))
                saved += 1
            content = s3_bucket.fs.cat_file(f"{s3_bucket.path}/clip.mp4")
            assert set(content) == {len(content)}
            # Another may come first each time, by chance: once the others are done, this one saves.
            if (saved and number >= 15) or number == 500:
                break
        return saved

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(save_often, (100, 110, 120, 130)))


def test_a_part_that_vanishes_is_transient(tmp_path: Path) -> None:
    def fill(file: BinaryIO) -> None:
        file.write(b"x")
        for part in tmp_path.glob("*.part"):
            part.unlink()

    with pytest.raises(ScenarioTransferError, match="has vanished"):
        LocalFolder(tmp_path).store("clip.mp4", fill)


# --- File systems without locks


@pytest.fixture(params=NO_LOCKS, ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


@pytest.mark.usefixtures("no_locks")
def test_without_locks_files_are_saved_and_old_parts_go(tmp_path: Path) -> None:
    old, new = tmp_path / "clip.mp4.0a0b0c0d.part", tmp_path / "clip.mp4.0a0b0c0e.part"
    for part in (old, new):
        part.write_bytes(b"x")
    os.utime(old, (time.time() - 3 * 86400,) * 2)
    LocalFolder(tmp_path).store("clip.mp4", write(b"whole"))
    assert (tmp_path / "clip.mp4").read_bytes() == b"whole"
    assert not old.exists()
    assert new.exists(), "another process may be writing it"


@pytest.mark.usefixtures("no_locks")
def test_without_locks_other_storages_are_saved_to(bucket: ObjectStoragePath) -> None:
    with staging_folder() as left:
        pass
    left.mkdir()
    os.utime(left, (time.time() - 3 * 86400,) * 2)
    RemoteFolder(bucket).store("clip.mp4", write(b"whole"))
    assert (bucket / "clip.mp4").read_bytes() == b"whole"
    assert not left.exists()


# --- Renames that are refused


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV])
def test_a_bucket_shown_as_a_folder_is_refused_before_anything_is_fetched(
    scenario: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ScenarioFileError, match="does not let files be renamed"):
        save(asset_ids=scenario.make_asset(SIZE), destination=str(tmp_path))
    assert requests_to(scenario, "GET /cdn/") == 0
    assert list(tmp_path.iterdir()) == []


# --- What stands there already


def test_only_a_digest_of_ours_is_trusted(scenario: SandboxServer, tmp_path: Path) -> None:
    asset_id = scenario.make_asset(SIZE)
    path = tmp_path / f"{asset_id}.mp4"
    path.write_bytes(bytes(SIZE))
    [file] = save(asset_ids=asset_id, destination=str(tmp_path))
    content = path.read_bytes()
    assert content != bytes(SIZE)
    path.write_bytes(bytes(SIZE))
    assert save(asset_ids=asset_id, destination=str(tmp_path)) == [file]
    assert path.read_bytes() == content
    before = requests_to(scenario, "GET /cdn/")
    assert save(asset_ids=asset_id, destination=str(tmp_path)) == [file]
    assert requests_to(scenario, "GET /cdn/") == before


def test_a_link_is_replaced_and_never_written_through(scenario: SandboxServer, tmp_path: Path) -> None:
    asset_id = scenario.make_asset(SIZE)
    folder, elsewhere = tmp_path / "clips", tmp_path / "elsewhere"
    save(asset_ids=asset_id, destination=str(folder))
    path = folder / f"{asset_id}.mp4"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    content = elsewhere.read_bytes()
    elsewhere.write_bytes(content)
    save(asset_ids=asset_id, destination=str(folder))
    assert not path.is_symlink()
    assert path.read_bytes() == content


def test_a_retry_keeps_what_an_unfinished_try_saved(scenario: SandboxServer, tmp_path: Path) -> None:
    ids = [scenario.make_asset(SIZE), scenario.make_asset(SIZE + 1)]
    scenario.add_fault("status", method="GET", path=f"/cdn/.*{ids[1]}", times=None)
    with pytest.raises(ScenarioTransferError):
        save(asset_ids=ids, destination=str(tmp_path))
    scenario.clear_faults()
    before = requests_to(scenario, "GET /cdn/")
    save(asset_ids=ids, destination=str(tmp_path))
    assert requests_to(scenario, "GET /cdn/") == before + 1
    assert sorted(os.listdir(tmp_path)) == sorted([*(f"{one}.mp4" for one in ids), "manifest.json"])


def test_a_read_only_folder_that_has_all_is_enough(
    scenario: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asset_id = scenario.make_asset(SIZE)
    first = save(asset_ids=asset_id, destination=str(tmp_path))
    opened = Path.open

    def read_only(path: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if mode[0] in "wxa" and path.is_relative_to(tmp_path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, mode, *arguments, **more)

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Manifest, "content", lambda manifest: json.dumps(manifest.document()).encode())
    assert save(asset_ids=asset_id, destination=str(tmp_path)) == first
    with pytest.raises(ScenarioFileError, match="not allowed"):
        save(asset_ids=scenario.make_asset(SIZE), destination=str(tmp_path))


@pytest.mark.parametrize("what", ["a folder", "a folder's manifest", "a name of 255 bytes", "a name of 300 bytes"])
def test_names_that_can_and_can_not_be_saved(scenario: SandboxServer, tmp_path: Path, what: str) -> None:
    asset_id = scenario.make_asset(SIZE)
    name = f"{asset_id}.mp4"
    if what == "a name of 255 bytes":
        prefix = "é" * ((255 - len(name)) // 2)
        save(asset_ids=asset_id, destination=f"{tmp_path}/{prefix}{{asset_id}}{{ext}}")
        assert sorted(os.listdir(tmp_path)) == ["manifest.json", prefix + name]
        return
    destination, says = f"{tmp_path}/{{asset_id}}{{ext}}", "a folder stands where a file is to be saved"
    if what == "a name of 300 bytes":
        destination, says = f"{tmp_path}/{'x' * 300}{{ext}}", "File name too long"
    else:
        (tmp_path / (name if what == "a folder" else "manifest.json")).mkdir()
    with pytest.raises(ScenarioFileError, match=says):
        save(asset_ids=asset_id, destination=destination)
    assert not [path for path in tmp_path.iterdir() if path.is_file() and path.suffix != ".unfinished"]
    assert requests_to(scenario, "GET /cdn/") <= 1, "no more than the file's size was asked for"


def test_a_missing_bucket_is_said_before_anything_is_fetched(
    scenario: SandboxServer, s3_bucket: ObjectStoragePath
) -> None:
    with pytest.raises(ScenarioFileError, match="bucket does not exist"):
        save(asset_ids=scenario.make_asset(SIZE), destination="s3://aws_test@no-such-bucket/clips")
    assert requests_to(scenario, "GET /cdn/") == 0


def test_a_bucket_that_shows_folders_takes_files(scenario: SandboxServer, s3_bucket: ObjectStoragePath) -> None:
    """Consoles and other programs put empty objects called ``clips/`` there."""
    asset_id = scenario.make_asset(SIZE)
    for marker in ("/", f"/{asset_id}.mp4/", f"/{asset_id}.mp4/below"):
        s3_bucket.fs.pipe_file(f"{s3_bucket.path}{marker}", b"")
    [file] = save(asset_ids=asset_id, destination=str(s3_bucket))
    assert save(asset_ids=asset_id, destination=f"{s3_bucket}/") == [file]
    assert len((s3_bucket / f"{asset_id}.mp4").read_bytes()) == SIZE


def test_a_bucket_in_which_nothing_may_be_removed(
    scenario: SandboxServer, bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(bucket.fs), "rm_file", refuse)
    asset_id = scenario.make_asset(SIZE)
    [file] = save(asset_ids=asset_id, destination=str(bucket))
    assert save(asset_ids=asset_id, destination=str(bucket)) == [file], "what it has is enough"


# --- Types, text and connections


def test_objects_carry_their_type(scenario: SandboxServer, s3_bucket: ObjectStoragePath) -> None:
    asset_id = scenario.make_asset(SIZE)
    save(asset_ids=asset_id, destination=str(s3_bucket))
    types = {}
    for name in (f"{asset_id}.mp4", "manifest.json"):
        path = s3_bucket / name
        types[name.partition(".")[2]] = path.fs.info(path.path, refresh=True)["ContentType"]
    assert types == {"mp4": "video/mp4", "json": "application/json"}


@pytest.mark.parametrize("text", ["half a pair \ud83d", "NUL \0", "whole 🚤", "für alle"])
def test_a_manifest_can_always_be_written(text: str) -> None:
    job = Job("job_1", JobStatus.SUCCESS, inputs={"prompt": text, text: [text]})
    manifest = Manifest("/data", [SavedFile("file:///data/a.mp4", "a", "00", 5, "video/mp4", job_id="job_1")], [job])
    told = json.loads(manifest.content())
    assert told == json.loads(json.dumps(manifest.document()))
    prompt = told["jobs"][0]["inputs"]["prompt"]
    assert prompt.encode()
    assert prompt.startswith(text[:3])
    assert "\0" not in prompt


@pytest.mark.parametrize(
    "destination",
    [
        "/data/a\0b",
        "/data/a\nb",
        "file:///data/a\tb",
        "memory://a\r/b",
        "/data/a\ud83d",
        "/data/\udcfc",
        "memory://\ud83d/",
    ],
)
def test_a_control_character_makes_no_other_folder(destination: str) -> None:
    with pytest.raises(ScenarioFileError, match="control characters are refused"):
        save(asset_ids="asset_1", destination=destination)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://no_such_conn@bucket/x",
        "sftp://no_such_conn@host/x",
        "abfs://no_such_conn@account.dfs.core.windows.net/x",
    ],
)
def test_a_connection_that_does_not_exist_is_named_at_once(uri: str) -> None:
    with pytest.raises(ScenarioFileError, match="'no_such_conn', which does not exist"):
        object_path(uri, "destination")


# --- root


@pytest.mark.parametrize(
    "destination",
    [
        "..",
        "../x",
        "a/../../x",
        "/etc",
        "{root}/../x",
        "{root}x",
        "file:///etc",
        "s3://bucket/x",
        "memory://x/y",
        "a/%2e%2e/%2E%2E/x",
        "%252e%252e/x",
        "..\\x",
        ".. /x",
        "\uff0e\uff0e/x",
        "a\n/x",
        "simplecache::file:///etc",
        "link",
        "link/below",
        "../{{asset_id}}{{ext}}",
    ],
)
def test_a_destination_stays_below_root(
    scenario: SandboxServer,
    tmp_path: Path,
    destination: str,
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(ScenarioFileError, match="root"):
        save(asset_ids="asset_1", destination=destination.format(root=root), root=str(root))
    assert scenario.requests()["counts"] == {}
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("destination", "where"),
    [
        ("", ""),
        ("tall", "tall/"),
        ("a/b c/", "a/b c/"),
        ("2026-11-26T00:00:00+00:00", "2026-11-26T00:00:00+00:00/"),
        ("{root}/tall", "tall/"),
        ("file://{root}", ""),
    ],
)
def test_a_destination_below_root(
    scenario: SandboxServer,
    tmp_path: Path,
    destination: str,
    where: str,
) -> None:
    asset_id = scenario.make_asset(SIZE)
    [file] = save(asset_ids=asset_id, destination=destination.format(root=tmp_path), root=str(tmp_path))
    assert file["uri"] == f"file://{tmp_path}/{where}{asset_id}.mp4"


def test_root_is_no_template_field() -> None:
    assert "root" not in ScenarioToObjectStorageOperator.template_fields


def test_root_holds_for_other_storages(scenario: SandboxServer, bucket: ObjectStoragePath) -> None:
    asset_id = scenario.make_asset(SIZE)
    [file] = save(asset_ids=asset_id, destination="tall/{index:03d}{ext}", root=bucket)
    assert file["uri"] == f"{bucket}/tall/001.mp4"
    for outside in (f"{bucket}-other/x", "memory://elsewhere", "../x", "/x"):
        with pytest.raises(ScenarioFileError, match="not below root"):
            save(asset_ids=asset_id, destination=outside, root=bucket)
