"""Parts: files that are being written, beside their final names or in a staging folder of this machine.

Locks only help to tidy up what killed processes left: a file system without them (NFS, Lustre) is as safe, since every
writer has a part of its own and only renames it.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.files.location import STAGING_PREFIX, writing_error

P = TypeVar("P", bound=PurePath)

ABANDONED = 24 * 3600.0
"""Seconds without a new byte after which a part is taken for left behind, where there are no locks to tell."""

_LONGEST_BEGINNING = 60
"""Characters, of four bytes at most each: file systems take names of 255 bytes."""

_RANDOM_BYTES = 4

_NO_RENAME = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EINVAL)


class _Lock(enum.Enum):
    """What became of the wish to lock a file."""

    HELD = enum.auto()
    BUSY = enum.auto()
    NONE = enum.auto()
    """This file system has no locks."""


def _lock(handle: int, *, wait: bool = False) -> _Lock:
    """Lock an open file; the lock ends with the process, however that ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return _Lock.BUSY
    except OSError:
        return _Lock.NONE
    return _Lock.HELD


def part_name(target: P) -> P:
    """Return a name of its own: another process may be writing the same file."""
    return target.with_name(f"{_beginning(target)}{secrets.token_hex(_RANDOM_BYTES)}.part")


def is_part_of(name: str, target: PurePath) -> bool:
    """Return whether a name may be that of a part of a file."""
    beginning = re.escape(_beginning(target))
    return re.fullmatch(rf"{beginning}[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.part", name) is not None


def _beginning(target: PurePath) -> str:
    """Return how the parts of a file begin: not with all of a long name, to which nothing can be added."""
    return f"{target.name[:_LONGEST_BEGINNING]}."


def new_part(target: Path) -> tuple[Path, BinaryIO]:
    """Open a new part of a file for writing and reading, and hold it."""
    while True:
        part = part_name(target)
        file = part.open("x+b")
        # Another process may have removed it as left behind, before it was held.
        if _lock(file.fileno()) is not _Lock.BUSY and part.exists():
            return part, file
        file.close()
        part.unlink(missing_ok=True)


def rename(part: Path, target: Path) -> None:
    """Give a part its final name, in one step."""
    try:
        part.replace(target)
    except FileNotFoundError as error:
        raise ScenarioTransferError(
            f"{part.name} has vanished from {part.parent} while it was written: something else removes files there. "
            "Nothing was lost at Scenario; the next try fetches it again."
        ) from error
    except OSError as error:
        if error.errno not in _NO_RENAME or target.is_dir():
            raise
        raise ScenarioFileError(
            f"{part.parent} does not let files be renamed ({error}), as a bucket that is shown as a folder may. So a "
            "file could not be saved all or nothing. Give the bucket's URI such as s3://connection@bucket/clips, or "
            "another folder, then clear the task. Nothing was lost at Scenario."
        ) from error


def secure_names(folder: Path) -> None:
    """Bring a folder's names to the disk: a renamed file may otherwise be lost when the power is."""
    with contextlib.suppress(OSError):  # some network file systems can't, and keep names at once
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def remove_leftovers(target: Path) -> None:
    """Remove the parts of a file that killed processes left behind: those that nobody holds."""
    with contextlib.suppress(OSError):
        for part in target.parent.iterdir():
            if is_part_of(part.name, target):
                _remove_if_left(part, part, lambda path: path.unlink())


def _remove_if_left(lock: Path, left: Path, remove: Callable[[Path], object]) -> None:
    """Remove what nobody holds. Where there are no locks, it must have been still for a day."""
    with contextlib.suppress(OSError):
        # Writable: NFS gives no lock otherwise.
        handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
        try:
            state = _lock(handle)
            if state is _Lock.HELD or (state is _Lock.NONE and _is_still(left)):
                remove(left)
        finally:
            os.close(handle)


def _is_still(left: Path) -> bool:
    """Return whether a file, or a folder and all in it, has not changed for a day."""
    inside = left.iterdir() if left.is_dir() else ()
    newest: float = max(path.lstat().st_mtime for path in (left, *inside))
    return time.time() - newest > ABANDONED


_LOCK_NAME = "lock"


@contextlib.contextmanager
def staging_folder() -> Iterator[Path]:
    """Give an empty folder that is removed at the end, and remove those that killed processes left behind."""
    try:
        base = _staging_base()  # in the machine's folder for temporary files (TMPDIR)
        guard = os.open(base / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            # So that nobody removes a new folder before it is held.
            _lock(guard, wait=True)
            _remove_left_staging(base)
            folder = Path(tempfile.mkdtemp(dir=base))
            lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(lock)
        finally:
            os.close(guard)
    except OSError as error:
        raise writing_error(error, tempfile.gettempdir()) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _staging_base() -> Path:
    """Return this user's folder of staging folders; a new one if that is not surely this user's own."""
    base = Path(tempfile.gettempdir()) / f"{STAGING_PREFIX}{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        base.mkdir(mode=0o700)
    facts = base.lstat()
    is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    return base if is_ours else Path(tempfile.mkdtemp(prefix=STAGING_PREFIX))


def _remove_left_staging(base: Path) -> None:
    """Remove the staging folders that nobody holds."""
    for folder in base.iterdir():
        if not folder.is_dir() or folder.is_symlink():
            continue
        lock = folder / _LOCK_NAME
        if lock.exists():
            _remove_if_left(lock, folder, lambda path: shutil.rmtree(path, ignore_errors=True))
        else:
            with contextlib.suppress(OSError):
                if _is_still(folder):
                    shutil.rmtree(folder, ignore_errors=True)
