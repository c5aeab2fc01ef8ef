"""A folder that files are saved in, so that nobody ever finds half a file under a final name.

A local file is written beside its final name and renamed. Other storages commit what they have even if the writer
fails, so there a file is made complete on this machine first and then put in one go.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.transfers.location import is_local
from airflow_provider_scenario.transfers.staging import staging_folder
from airflow_provider_scenario.transfers.storage_error import reading_error, writing_error

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

T = TypeVar("T")

BLOCK = 1 << 20
"""Bytes that are written or read at once."""


class Folder(Protocol):
    """Where files are saved. Names are relative to it and may have folders of their own."""

    def prepare(self) -> None:
        """Make the folder if need be.

        :raises ScenarioFileError: if it can't be one.
        """

    def uri(self, name: str) -> str:
        """Return where the file is, as ``ObjectStoragePath`` takes it."""

    def size(self, name: str) -> int | None:
        """Return the size of the file that stands there, or ``None``."""

    def sha256(self, name: str) -> str:
        """Return the digest of the file that stands there."""

    def remove(self, name: str) -> None:
        """Remove the file that stands there, if there is one.

        :raises ScenarioError: if it can't be removed.
        """

    def store(self, name: str, fill: Callable[[BinaryIO], T]) -> T:
        """Save a file: all of it, or nothing.

        :param name: Its name; what stands there is replaced.
        :param fill: Writes the bytes. If it raises, nothing is saved.
        :return: What ``fill`` returned.
        :raises ScenarioFileError: if the file can't be written, for a reason that stays.
        :raises ScenarioTransferError: if it can't be written just now.
        """


def folder_at(path: ObjectStoragePath) -> Folder:
    """Return the folder at ``path``."""
    return LocalFolder(Path(path.path)) if is_local(path) else RemoteFolder(path)


class LocalFolder:
    """A folder of this machine's file system.

    :param root: Its absolute path.
    :param is_lasting: Whether a saved file has to outlive a loss of power, as a manifest that names it may. Default
        ``True``.
    """

    def __init__(self, root: Path, *, is_lasting: bool = True) -> None:
        self.root = root
        self._is_lasting = is_lasting

    def prepare(self) -> None:
        """Make the folder if need be."""
        self._make(self.root)

    def uri(self, name: str) -> str:
        """Return the file's URI. It is not percent-encoded, as Airflow takes it."""
        return f"file://{self.root / name}"

    def size(self, name: str) -> int | None:
        """Return the file's size, or ``None`` where there is none."""
        with contextlib.suppress(OSError):
            if (self.root / name).is_file():
                return (self.root / name).stat().st_size
        return None

    def sha256(self, name: str) -> str:
        """Return the file's digest."""
        try:
            with (self.root / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise reading_error(error, self.uri(name)) from error

    def remove(self, name: str) -> None:
        """Remove the file, if there is one."""
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise writing_error(error, str(self.root)) from error

    def store(self, name: str, fill: Callable[[BinaryIO], T]) -> T:
        """Write beside the final name, then rename."""
        target = self.root / name
        self._make(target.parent)
        _remove_leftovers(target)
        # A name of its own: a task that was thought dead may still be writing the same file.
        part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:
                _hold(file)
                result = fill(file)
                if self._is_lasting:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(target)
            if self._is_lasting:
                _secure_names(target.parent)
        except OSError as error:
            raise writing_error(error, str(target.parent)) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return result

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise writing_error(error, str(folder)) from error


class RemoteFolder:
    """A folder, or a prefix of keys, of any other storage.

    :param root: Where.
    """

    def __init__(self, root: ObjectStoragePath) -> None:
        self.root = root
        self._storage = root.fs

    def prepare(self) -> None:
        """Do nothing: object storages have no folders, and the others make them with the file."""

    def uri(self, name: str) -> str:
        """Return the file's URI, with the connection's id."""
        return str(self.root / name)

    def size(self, name: str) -> int | None:
        """Return the object's size, or ``None`` where there is none."""
        path = self._path(name)
        self._storage.invalidate_cache()
        try:
            found = self._storage.info(path)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise writing_error(error, str(self.root)) from error
        return int(found["size"]) if found.get("type") == "file" else None

    def sha256(self, name: str) -> str:
        """Read the object and return its digest."""
        try:
            with self._storage.open(self._path(name), "rb") as file:
                return _digest(file)
        except Exception as error:
            raise reading_error(error, self.uri(name)) from error

    def remove(self, name: str) -> None:
        """Remove the object, if there is one."""
        if self.size(name) is None:
            return
        try:
            self._storage.rm_file(self._path(name))
        except FileNotFoundError:
            return
        except Exception as error:
            raise writing_error(error, str(self.root)) from error

    def store(self, name: str, fill: Callable[[BinaryIO], T]) -> T:
        """Make the file complete in the machine's folder for temporary files, then put it in one go."""
        with staging_folder() as staging:
            stage = LocalFolder(staging, is_lasting=False)
            result = stage.store("file", fill)
            self._put(staging / "file", name)
        return result

    def _put(self, staged: Path, name: str) -> None:
        path, size, before = self._path(name), staged.stat().st_size, self.size(name)
        try:
            self._storage.put_file(str(staged), path)
        except Exception as error:
            self._remove_half(name, before, size)
            raise writing_error(error, str(self.root)) from error
        stored = self.size(name)
        if stored != size:
            self._remove_half(name, before, size)
            raise ScenarioTransferError(
                f"{self.uri(name)} has {stored} bytes after {size} were put there. It was removed; the next try puts "
                "it again. Nothing was lost at Scenario."
            )

    def _remove_half(self, name: str, before: int | None, size: int) -> None:
        """Remove what a failed put has left, but not the file that stood there before."""
        with contextlib.suppress(Exception):
            if self.size(name) not in (None, before, size):
                self._storage.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return str((self.root / name).path)


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _hold(file: BinaryIO) -> None:
    """Mark the file as being written; the mark goes with the process, however it ends."""
    with contextlib.suppress(OSError):  # some network file systems have no locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _secure_names(folder: Path) -> None:
    """Bring a folder's names to the disk: a renamed file may otherwise be lost when the power is."""
    number = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems can't, and keep names at once
            os.fsync(number)
    finally:
        os.close(number)


def _remove_leftovers(target: Path) -> None:
    """Remove the parts that killed processes left behind: those that nobody holds."""
    for part in target.parent.iterdir() if target.parent.is_dir() else ():
        if part.name.startswith(f"{target.name}.") and part.name.endswith(".part"):
            with contextlib.suppress(OSError), part.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
