"""Folders on this machine in which files are made complete before they go elsewhere.

Each is held by a lock that ends with its process, however that ends. So whoever needs one next can tell which were left
behind by killed processes, and removes them: gigabytes of half videos must not fill a worker's disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from airflow_provider_scenario.transfers.storage_error import writing_error

_LOCK = "lock"


@contextlib.contextmanager
def staging_folder() -> Iterator[Path]:
    """Give an empty folder that is removed at the end, and remove those that killed processes left behind.

    It is in the machine's folder for temporary files (``TMPDIR``).

    :raises ScenarioError: if there can be none.
    """
    try:
        base = _base()
        with _locked(base):
            _remove_leftovers(base)
            folder = Path(tempfile.mkdtemp(dir=base))
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise writing_error(error, tempfile.gettempdir()) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _base() -> Path:
    """Return this user's folder of staging folders; a new one if that is not surely this user's own."""
    base = Path(tempfile.gettempdir()) / f"scenario-staging-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    facts = base.lstat()
    is_ours = base.is_dir() and not base.is_symlink() and facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    return base if is_ours else Path(tempfile.mkdtemp(prefix="scenario-staging-"))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_leftovers(base: Path) -> None:
    """Remove the staging folders that nobody holds."""
    for folder in base.iterdir():
        with contextlib.suppress(OSError):
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
