"""Small pure parts: locations, progress, part sizes, words for storage errors."""

from __future__ import annotations

import errno
import subprocess
import sys

import asyncssh
import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_scenario.exceptions import ScenarioError, ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.files.location import object_path, reading_error, writing_error
from airflow_provider_scenario.files.transfer_log import Progress
from airflow_provider_scenario.files.upload import LARGEST_PART, SMALLEST_PART, part_size_of


class Lines:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, *values: object) -> None:
        self.lines.append(event % values)

    warning = info


@pytest.mark.parametrize(
    ("given", "uri"), [("/a b/ö", "file:///a b/ö"), (" file:///a ", "file:///a"), ("memory://b/k", "memory://b/k")]
)
def test_a_location(given: str, uri: str, bucket: object) -> None:
    assert object_path(given, "destination") == ObjectStoragePath(uri)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nosuch://user:secret@x/y", "nosuch://"),
        ("s3://user:secret@bucket/y", "the Airflow connection 'user', which does not exist"),
        ("https://host/x?Signature=secret", "https://"),
        ("", "destination is empty"),
        ("clips/a", "neither a URI nor an absolute path"),
    ],
)
def test_a_location_that_is_none(given: str, says: str) -> None:
    with pytest.raises(ScenarioFileError) as refusal:
        object_path(given, "destination")
    assert says in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_progress_speaks_every_five_seconds_at_most() -> None:
    now, log = [0.0], Lines()
    progress = Progress(log, "asset_1", 200_000_000, clock=lambda: now[0])
    for second in range(1, 13):
        now[0] = float(second)
        progress.reach(second * 10_000_000)
    assert log.lines == ["asset_1: 25 % of 200.0 MB, 10.0 MB/s", "asset_1: 50 % of 200.0 MB, 10.0 MB/s"]


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (1, SMALLEST_PART),
        (8 << 30, 9 << 20),
        (16 << 30, 17 << 20),
        (1 << 40, LARGEST_PART),
    ],
)
def test_parts_grow_with_the_file(size: int, part: int) -> None:
    assert part_size_of(size) == part


def with_status(name: str, status: int) -> Exception:
    """Return an error as the libraries of object storages raise it."""
    error = RuntimeError("AuthorizationFailure")
    setattr(error, name, status)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (OSError(errno.ENOSPC, "full"), ScenarioFileError, "no space left in /data"),
        (OSError(errno.EACCES, "no"), ScenarioFileError, "Writing to /data is not allowed"),
        (OSError(errno.EROFS, "no"), ScenarioFileError, "Writing to /data is not allowed"),
        (PermissionError("Access Denied"), ScenarioFileError, "Writing to /data is not allowed"),
        (OSError(errno.ENOTDIR, "no"), ScenarioFileError, "/data can't be used as a folder"),
        (FileNotFoundError("no such bucket"), ScenarioFileError, "/data can't be used as a folder"),
        (IsADirectoryError("a.mp4"), ScenarioFileError, "In /data a folder stands where a file is to be saved"),
        (asyncssh.SFTPPermissionDenied("no"), ScenarioFileError, "Writing to /data is not allowed"),
        (asyncssh.SFTPNoSpaceOnFilesystem("full"), ScenarioFileError, "no space left in /data"),
        (asyncssh.SFTPQuotaExceeded("full"), ScenarioFileError, "no space left in /data"),
        (asyncssh.SFTPFailure("Failure"), ScenarioTransferError, "Writing to /data failed"),
        (asyncssh.SFTPConnectionLost("gone"), ScenarioTransferError, "Writing to /data failed"),
        (OSError(errno.EIO, "i/o"), ScenarioTransferError, "Writing to /data failed"),
        (RuntimeError("slow down"), ScenarioTransferError, "Writing to /data failed"),
        (with_status("status_code", 403), ScenarioFileError, "Writing to /data is not allowed"),  # Azure's
        (with_status("code", 401), ScenarioFileError, "Writing to /data is not allowed"),  # Google's
        (with_status("status_code", 404), ScenarioFileError, "/data can't be used as a folder"),
        (with_status("status_code", 503), ScenarioTransferError, "Writing to /data failed"),
        (OSError("Forbidden: https://storage.googleapis.com/b"), ScenarioFileError, "Writing to /data is not allowed"),
        (OSError(errno.ENOTSUP, "no"), ScenarioFileError, "/data can't replace a file in one step"),
    ],
)
def test_words_for_what_cannot_be_written(error: Exception, kind: type[ScenarioError], says: str) -> None:
    found = writing_error(error, "/data")
    assert type(found) is kind
    assert says in str(found)
    assert "Nothing was lost at Scenario" in str(found)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(), ScenarioFileError),
        (PermissionError(), ScenarioFileError),
        (IsADirectoryError(), ScenarioFileError),
        (OSError(errno.ELOOP, "a link to itself"), ScenarioFileError),
        (OSError(errno.ENAMETOOLONG, "300 characters"), ScenarioFileError),
        (asyncssh.SFTPNoSuchFile("gone"), ScenarioFileError),
        (asyncssh.SFTPPermissionDenied("no"), ScenarioFileError),
        (TimeoutError(), ScenarioTransferError),
    ],
)
def test_words_for_what_cannot_be_read(error: Exception, kind: type[ScenarioError]) -> None:
    assert type(reading_error(error, "/data/clip.mp4")) is kind


def test_importing_the_operators_imports_nothing_heavy() -> None:
    program = (
        "import sys, airflow.sdk; before = set(sys.modules)\n"
        "import airflow_provider_scenario.transfers.scenario_to_object_storage\n"
        "import airflow_provider_scenario.transfers.object_storage_to_scenario\n"
        "new = set(sys.modules) - before\n"
        "print(sorted({'requests', 'av', 'fastapi', 'uvicorn', 'starlette'} & new))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
