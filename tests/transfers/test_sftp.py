"""Files of Scenario on a real SFTP server, and clips that come from there."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.files.source import find_source
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.api.scripted_server import closed_port
from tests.transfers.conftest import requests_to

USER, PASSWORD = "somebody", "a-password"


class _Door(asyncssh.SSHServer):
    def __init__(self, connections: list[asyncssh.SSHServerConnection]) -> None:
        self.connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connections.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


class _Files(asyncssh.SFTPServer):
    """Serves a folder, notes each name that is opened for writing, and takes so many bytes of a file."""

    written: list[str]
    most: int | None
    renames: bool

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if pflags & asyncssh.FXF_WRITE:
            self.written.append(path.decode())
        return super().open(path, pflags, attrs)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> object:
        if not self.renames:
            raise asyncssh.SFTPOpUnsupported("no posix-rename@openssh.com here")
        return super().posix_rename(oldpath, newpath)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if self.most is not None and offset + len(data) > self.most:
            raise asyncssh.SFTPFailure("the disk is full")
        return super().write(file_obj, offset, data)


class Sftp:
    """An SFTP server, and what is in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.files = type("Files", (_Files,), {"written": [], "most": None, "renames": True})
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self._run(self._listen())
        self.port = self.server.sockets[0].getsockname()[1]

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Door(self.connections),
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=lambda channel: self.files(channel, chroot=str(self.folder).encode()),
        )

    def stop(self) -> None:
        self._run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def _close(self) -> None:
        for connection in self.connections:
            connection.abort()
        self.server.close()
        await self.server.wait_closed()
        await asyncio.sleep(0.1)  # until the handlers have seen it

    def connection(self, password: str) -> dict[str, Any]:
        where = {"conn_type": "sftp", "host": "127.0.0.1", "port": self.port, "login": USER, "password": password}
        return {**where, "extra": {"no_host_key_check": "true"}}

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sftp]:
    asyncssh.set_log_level(logging.ERROR)  # it still says goodbye when pytest has closed its log
    started = Sftp(tmp_path_factory.mktemp("served"))
    yield started
    started.stop()


@pytest.fixture
def sftp(server: Sftp, monkeypatch: pytest.MonkeyPatch) -> Sftp:
    """The server, empty, with a connection that leads to it. Airflow keeps the connection open."""
    shutil.rmtree(server.folder)
    server.folder.mkdir()
    server.files.written.clear()
    server.files.most = None
    server.files.renames = True
    monkeypatch.setenv("AIRFLOW_CONN_SFTP_TEST", json.dumps(server.connection(PASSWORD)))
    return server


def saving(video_id: str, **arguments: Any) -> ScenarioToObjectStorageOperator:
    destination = "sftp://sftp_test@host/clips/{asset_id}/a file{ext}"
    return ScenarioToObjectStorageOperator(
        task_id="save", asset_ids=video_id, destination=destination, root="sftp://sftp_test@host/clips", **arguments
    )


def test_a_file_is_saved_kept_and_replaced_under_its_name_only_when_whole(
    scenario: SandboxServer, sftp: Sftp, context: dict[str, Any]
) -> None:
    video_id = scenario.make_asset(3_000_000)
    (saved,) = saving(video_id).execute(context)
    assert sftp.names() == [f"clips/{video_id}/a file.mp4", "clips/manifest.json"]
    path = sftp.folder / "clips" / video_id / "a file.mp4"
    assert path.stat().st_size == saved["bytes"] >= 3_000_000
    assert all(name.endswith(".part") for name in sftp.files.written), "nobody sees half a file"

    written = list(sftp.files.written)
    assert saving(video_id).execute(context) == [saved]
    assert sftp.files.written == written, "it is there already"

    path.write_bytes(bytes(saved["bytes"]))
    assert saving(video_id).execute(context) == [saved]
    assert path.read_bytes() != bytes(saved["bytes"])


def test_a_full_disk_leaves_what_was_there(scenario: SandboxServer, sftp: Sftp, context: dict[str, Any]) -> None:
    video_id = scenario.make_asset(3_000_000)
    there = sftp.folder / "clips" / video_id / "a file.mp4"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"of before")
    sftp.files.most = 1_000_000
    with pytest.raises((ScenarioFileError, ScenarioTransferError)):
        saving(video_id).execute(context)
    assert (sftp.names(), there.read_bytes()) == ([f"clips/{video_id}/a file.mp4"], b"of before")


def test_what_a_killed_save_left_goes_after_a_day(scenario: SandboxServer, sftp: Sftp, context: dict[str, Any]) -> None:
    video_id = scenario.make_asset(100_000)
    folder = sftp.folder / "clips" / video_id
    folder.mkdir(parents=True)
    names = ("a file.mp4.0a0b0c0d.part", "a file.mp4.0a0b0c0e.part", "another.mp4.0a0b0c0d.part", "a file.mp4.old")
    for name in names:
        (folder / name).write_bytes(b"half")
        if name != names[1]:
            os.utime(folder / name, (time.time() - 25 * 3600,) * 2)
    saving(video_id).execute(context)
    there = {path.name for path in folder.iterdir()}
    assert there == {"a file.mp4", *names[1:]}, "what another task may still write, and other files, stay"


@pytest.mark.parametrize("what", ["a folder of this name", "a file for a folder", "a read-only folder", "no renames"])
def test_what_stays_wrong_is_said_before_anything_is_fetched(
    scenario: SandboxServer, sftp: Sftp, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_: object) -> None:
        raise asyncssh.SFTPPermissionDenied("not here")

    video_id = scenario.make_asset(100_000)
    if what == "a folder of this name":
        (sftp.folder / "clips" / video_id / "a file.mp4").mkdir(parents=True)
    elif what == "a file for a folder":
        (sftp.folder / "clips").write_bytes(b"a file")
    elif what == "a read-only folder":
        monkeypatch.setattr(sftp.files, "open", refuse)
    else:
        monkeypatch.setattr(sftp.files, "posix_rename", refuse)
    before = sftp.names()
    with pytest.raises(ScenarioFileError):
        saving(video_id).execute(context)
    assert requests_to(scenario, "GET /cdn/") == 0
    assert sftp.names() == before


@pytest.mark.parametrize("manifest", [True, False])
def test_a_server_that_renames_nothing_is_refused_before_anything_is_fetched(
    scenario: SandboxServer, sftp: Sftp, context: dict[str, Any], manifest: bool
) -> None:
    """It allows no commands either, as most that only serve files."""
    sftp.files.renames = False
    video_id = scenario.make_asset(100_000)
    with pytest.raises(ScenarioFileError, match=r"can't replace a file in one step .*posix-rename@openssh.com"):
        saving(video_id, manifest=manifest).execute(context)
    assert requests_to(scenario, "GET /cdn/") == 0
    assert sftp.names() == []


@pytest.mark.parametrize("link", ["clips/a", "clips/deep/a"])
def test_a_link_below_root_is_refused_before_anything_is_fetched(
    scenario: SandboxServer, sftp: Sftp, context: dict[str, Any], link: str
) -> None:
    elsewhere, path = sftp.folder / "elsewhere", sftp.folder / link
    elsewhere.mkdir()
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    before = requests_to(scenario, "GET /cdn/")
    operator = ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=scenario.make_asset(50_000),
        destination=f"{link.removeprefix('clips/')}/b/{{asset_id}}{{ext}}",
        root="sftp://sftp_test@host/clips",
    )
    with pytest.raises(ScenarioFileError, match="symbolic link, which may lead out of root"):
        operator.execute(context)
    assert list(elsewhere.iterdir()) == []
    assert requests_to(scenario, "GET /cdn/") == before


def test_a_clip_is_read_from_there(scenario: SandboxServer, sftp: Sftp, context: dict[str, Any]) -> None:
    clip = draw_clip(sftp.folder / "my clip.mp4", seconds=1, width=128, height=64)
    uploader = ObjectStorageToScenarioOperator(task_id="upload", source="sftp://sftp_test@host/my clip.mp4")
    assert uploader.execute(context).startswith("asset_")
    assert find_source("sftp://sftp_test@host/my clip.mp4").size == clip.stat().st_size


def test_a_wrong_password_ends_the_task_and_a_server_that_is_away_does_not(
    sftp: Sftp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SFTP_OTHER", json.dumps(sftp.connection("wrong-one")))
    with pytest.raises(ScenarioFileError, match="does not let this worker in") as caught:
        find_source("sftp://sftp_other@host/my clip.mp4")
    assert "wrong-one" not in str(caught.value)
    monkeypatch.setenv("AIRFLOW_CONN_SFTP_AWAY", json.dumps({**sftp.connection(PASSWORD), "port": closed_port()}))
    with pytest.raises(ScenarioTransferError, match="could not be reached"):
        find_source("sftp://sftp_away@host/my clip.mp4")
