"""Folders and buckets: written all or nothing, and read back.

A local file is written beside its final name and renamed. An object storage keeps what it has got even if the writer
fails, so a file is made complete on this machine first and then put in one go.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.files.location import NO_FILE, is_local, reading_error, writing_error
from airflow_provider_scenario.files.parts import (
    ABANDONED,
    is_part_of,
    new_part,
    part_name,
    remove_leftovers,
    rename,
    secure_names,
    staging_folder,
)

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

T = TypeVar("T")

_PROBE = ".scenario-probe"

BLOCK = 1 << 20
"""Bytes that are written or read at once."""

_RENAMING_PROTOCOLS = frozenset({"sftp", "ssh", "smb", "ftp", "hdfs", "webhdfs", "arrow_hdfs"})
"""Storages where a file can be seen while it is written, and that rename in one step."""

_WHOLE_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"})
"""Storages where a put is seen whole or not at all."""


class Folder(Protocol):
    """Where files are saved. Names are relative to it and may have folders of their own."""

    # What can't be done raises ScenarioFileError if that stays so, ScenarioTransferError if it may pass.

    def check(self) -> None:
        """Make sure that files can be saved here, before anything is fetched."""

    def uri(self, name: str) -> str:
        """Return where the file is, as ``ObjectStoragePath`` takes it."""

    def has(self, name: str, size: int, sha256: str) -> bool:
        """Return whether a file of this size and digest stands there, and is no link to another."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a file's content, ``None`` for no file, a link or a folder; more than ``limit`` bytes are an error."""

    def remove(self, name: str) -> None:
        """Remove the file that stands there, if there is one."""

    def store(self, name: str, fill: Callable[[BinaryIO], T], content_type: str = "") -> T:
        """Save, or replace, a file: all that ``fill`` writes, or nothing if it raises. Return what it returned."""


def folder_at(path: ObjectStoragePath, within: ObjectStoragePath | None = None) -> Folder:
    """Return the folder at ``path``, made if need be; no symbolic link of it may lead out of ``within``."""
    if not is_local(path):
        return RemoteFolder(path, within)
    folder = LocalFolder(Path(path.path), None if within is None else Path(within.path))
    folder.make()
    return folder


class LocalFolder:
    """A folder of this machine's file system."""

    def __init__(self, root: Path, within: Path | None = None) -> None:
        self.root = root
        self._within = within  # no symbolic link may lead out of it

    def make(self) -> None:
        """Make the folder if need be."""
        self._make(self.root)

    def check(self) -> None:
        """Make the folder, and rename a file in it as every saved file will be."""
        target = self.root / _PROBE
        self.make()
        remove_leftovers(target)
        try:
            part, file = new_part(target)
            renamed = part_name(target)
            try:
                with file:
                    rename(part, renamed)
            finally:
                for left in (part, renamed):
                    with contextlib.suppress(OSError):
                        left.unlink(missing_ok=True)
        except OSError as error:
            raise writing_error(error, str(self.root)) from error

    def uri(self, name: str) -> str:
        """Return the file's URI. It is not percent-encoded, as Airflow takes it."""
        return f"file://{self.root / name}"

    def has(self, name: str, size: int, sha256: str) -> bool:
        """Return whether just this file stands there."""
        try:
            with self._open(name) as file:
                return os.fstat(file.fileno()).st_size == size and _digest(file) == sha256
        except OSError:
            return False

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a small file."""
        path = self.root / name
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) or stat.S_ISDIR(mode):
                return None
            if not stat.S_ISREG(mode):
                raise ScenarioFileError(f"{self.uri(name)} is no regular file.")
            with self._open(name) as file:
                content = file.read(limit + 1)
        except OSError as error:
            if error.errno in NO_FILE:
                return None
            raise reading_error(error, self.uri(name)) from error
        _refuse_longer(len(content), limit, self.uri(name))
        return content

    def remove(self, name: str) -> None:
        """Remove the file, if there is one."""
        try:
            (self.root / name).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise writing_error(error, str(self.root)) from error

    def store(self, name: str, fill: Callable[[BinaryIO], T], content_type: str = "") -> T:  # noqa: ARG002 - no place
        """Write beside the final name, then rename."""
        target = self.root / name
        self._make(target.parent)
        remove_leftovers(target)
        try:
            _refuse_folder(name, stands=target.is_dir() and not target.is_symlink())
            part, file = new_part(target)
            try:
                with file:
                    result = fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                    # While the lock is held: nobody may take the part for left behind.
                    rename(part, target)
            finally:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
            secure_names(target.parent)
        except OSError as error:
            raise writing_error(error, str(target.parent)) from error
        return result

    def _open(self, name: str) -> BinaryIO:
        """Open a regular file for reading; what is no regular file, or a link, raises OSError."""
        path = self.root / name
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    def _make(self, folder: Path) -> None:
        try:
            if self._within is not None and not folder.resolve().is_relative_to(self._within.resolve()):
                raise ScenarioFileError(
                    f"{folder} leads out of root {self._within} by a symbolic link. Nothing was saved. Remove the link "
                    "or choose another destination."
                )
            folder.mkdir(parents=True, exist_ok=True)
        except RuntimeError as error:  # a symbolic link to itself
            raise writing_error(OSError(errno.ELOOP, str(error)), str(folder)) from error
        except OSError as error:
            raise writing_error(error, str(folder)) from error


class RemoteFolder:
    """A folder, or a prefix of keys, of any other storage."""

    def __init__(self, root: ObjectStoragePath, within: ObjectStoragePath | None = None) -> None:
        self.root = root
        # Below it no symbolic link is followed: from here nobody sees where it leads.
        self._within = None if within is None else PurePosixPath(within.path)
        self._no_links: set[PurePosixPath] = set()
        self._storage = root.fs
        # Some storages, such as sshfs, do not name their own protocol.
        self._protocols = frozenset({root.protocol, *_protocols(self._storage)})
        self._renames = bool(_RENAMING_PROTOCOLS & self._protocols)
        self._may_be_half = not self._renames and not _WHOLE_OBJECTS & self._protocols
        self._left: dict[PurePosixPath, list[str]] = {}

    def check(self) -> None:
        """Where files are renamed, try that with an empty one; object storages have no folders and rename nothing."""
        if not self._renames:
            return
        self._refuse_what_stands_in_the_way(_PROBE)
        path = PurePosixPath(self._path(_PROBE))
        parts = [part_name(path), part_name(path)]
        try:
            self._storage.makedirs(str(path.parent), exist_ok=True)
            self._storage.pipe_file(str(parts[0]), b"")
            self._rename(*parts)
        except Exception as error:
            raise writing_error(error, str(self.root)) from error
        finally:
            for part in parts:
                with contextlib.suppress(Exception):
                    self._storage.rm_file(str(part))

    def uri(self, name: str) -> str:
        """Return the file's URI, with the connection's id."""
        return str(self.root / name)

    def has(self, name: str, size: int, sha256: str) -> bool:
        """Return whether just this object is there, by reading it."""
        if self._size(name) != size:
            return False
        try:
            with self._storage.open(self._path(name), "rb") as file:
                return _digest(file) == sha256
        except Exception:  # noqa: BLE001 - whatever it is, what can't be read is not known to be right
            return False

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a small object."""
        size = self._size(name)
        if size is None:
            return None
        _refuse_longer(size, limit, self.uri(name))
        try:
            return bytes(self._storage.cat_file(self._path(name)))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise reading_error(error, self.uri(name)) from error

    def remove(self, name: str) -> None:
        """Remove the object, if there is one."""
        if self._size(name) is None:
            return
        try:
            self._storage.rm_file(self._path(name))
        except FileNotFoundError:
            return
        except Exception as error:
            raise writing_error(error, str(self.root)) from error

    def store(self, name: str, fill: Callable[[BinaryIO], T], content_type: str = "") -> T:
        """Make the file complete in the machine's folder for temporary files, then put it in one go."""
        if self._renames:
            self._refuse_what_stands_in_the_way(name)
        with staging_folder() as staging:
            staged = staging / "file"
            try:
                with staged.open("x+b") as file:
                    result = fill(file)
            except OSError as error:
                raise writing_error(error, str(staging)) from error
            self._put(staged, name, content_type)
        return result

    def _put(self, staged: Path, name: str, content_type: str) -> None:
        size, before = staged.stat().st_size, self._size(name)
        try:
            if self._renames:
                self._put_and_rename(staged, PurePosixPath(self._path(name)))
            else:
                _put_typed(self._storage, self._protocols, staged, self._path(name), content_type)
        except Exception as error:
            self._remove_half(name, before, size)
            raise writing_error(error, str(self.root)) from error
        stored = self._size(name)
        if stored != size:
            self._remove_half(name, before, size)
            raise ScenarioTransferError(
                f"{self.uri(name)} has {stored} bytes after {size} were put there: another task may save under this "
                "name too. Nothing was lost at Scenario; the next try looks again."
            )

    def _put_and_rename(self, staged: Path, path: PurePosixPath) -> None:
        part = part_name(path)
        self._storage.makedirs(str(path.parent), exist_ok=True)
        try:
            self._storage.put_file(str(staged), str(part))
            self._storage.invalidate_cache()
            size, stored = staged.stat().st_size, self._storage.info(str(part))["size"]
            if stored != size:
                raise OSError(errno.EIO, f"the storage kept {stored} of {size} bytes")
            self._remove_leftovers(part, path)
            self._rename(part, path)
        except Exception:
            with contextlib.suppress(Exception):
                self._storage.rm_file(str(part))
            raise

    def _rename(self, part: PurePosixPath, path: PurePosixPath) -> None:
        """Rename a file over another. Without a rename in one step sshfs runs a command, which few servers allow."""
        try:
            self._storage.mv(str(part), str(path))
        except Exception as error:
            asyncssh = sys.modules.get("asyncssh")  # not imported for those who do without
            if asyncssh is None or not isinstance(error, asyncssh.ChannelOpenError):
                raise
            raise OSError(errno.ENOTSUP, "the server lacks posix-rename@openssh.com") from error

    def _remove_leftovers(self, part: PurePosixPath, path: PurePosixPath) -> None:
        """Remove the parts of a file that have been still for a day, by the storage's own clock: it has no locks."""
        with contextlib.suppress(Exception):
            if path.parent not in self._left:
                now = self._storage.info(str(part))["mtime"]
                self._left[path.parent] = [
                    PurePosixPath(found["name"]).name
                    for found in self._storage.ls(str(path.parent), detail=True)
                    if found["name"].endswith(".part") and (now - found["mtime"]).total_seconds() > ABANDONED
                ]
            for left in self._left[path.parent]:
                if is_part_of(left, path):
                    self._storage.rm_file(str(path.with_name(left)))

    def _refuse_what_stands_in_the_way(self, name: str) -> None:
        """Refuse a folder in place of the file, and a file in place of one of its folders: it would stay there."""
        try:
            path = PurePosixPath(self._path(name))
            _refuse_folder(name, stands=self._storage.isdir(str(path)))
            for folder in path.parents:
                if self._storage.isfile(str(folder)):
                    raise NotADirectoryError(errno.ENOTDIR, "a file stands in place of a folder", str(folder))
                self._refuse_link(folder)
        except OSError as error:
            raise writing_error(error, str(self.root)) from error

    def _refuse_link(self, folder: PurePosixPath) -> None:
        """Refuse a link in place of a folder below root."""
        if self._within is None or self._within not in folder.parents or folder in self._no_links:
            return
        with contextlib.suppress(FileNotFoundError):
            for found in self._storage.ls(str(folder.parent), detail=True):
                if PurePosixPath(found["name"]).name == folder.name and found.get("type") == "link":
                    raise ScenarioFileError(
                        f"{folder} is a symbolic link, which may lead out of root {self._within}. Nothing was saved. "
                        "Remove the link or choose another destination."
                    )
        self._no_links.add(folder)

    def _remove_half(self, name: str, before: int | None, size: int) -> None:
        """Remove what a failed put has left, but not the file that stood there before, or that another has put."""
        if not self._may_be_half:
            return
        with contextlib.suppress(Exception):
            if self._size(name) not in (None, before, size):
                self._storage.rm_file(self._path(name))

    def _size(self, name: str) -> int | None:
        path = self._path(name)
        self._storage.invalidate_cache()
        try:
            found = self._storage.info(path)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise writing_error(error, str(self.root)) from error
        return int(found["size"]) if found.get("type") == "file" else None

    def _path(self, name: str) -> str:
        return str((self.root / name).path)


def _refuse_longer(size: int, limit: int, uri: str) -> None:
    if size > limit:
        raise ScenarioFileError(f"{uri} has more than {limit} bytes.")


def _refuse_folder(name: str, *, stands: bool) -> None:
    if stands:
        raise IsADirectoryError(errno.EISDIR, "there is a folder of this name", name)


def _protocols(storage: Any) -> tuple[str, ...]:
    named = storage.protocol
    return (named,) if isinstance(named, str) else tuple(named)


def _put_typed(storage: Any, protocols: frozenset[str], staged: Path, path: str, content_type: str) -> None:
    """Put a file, with its MIME type where the storage keeps one."""
    arguments = _type_arguments(protocols, content_type) if content_type else {}
    try:
        storage.put_file(str(staged), path, **arguments)
    except TypeError:
        if not arguments:
            raise
        # A version that does not know the argument: better without a type than not at all.
        storage.put_file(str(staged), path)


def _type_arguments(protocols: frozenset[str], content_type: str) -> dict[str, Any]:
    """Return the argument by which a storage's ``put_file`` takes a MIME type."""
    if {"s3", "s3a"}.intersection(protocols):
        return {"ContentType": content_type}
    if {"gs", "gcs"}.intersection(protocols):
        return {"content_type": content_type}
    if {"abfs", "abfss", "az"}.intersection(protocols):
        with contextlib.suppress(ImportError):
            from azure.storage.blob import ContentSettings  # type: ignore[import-not-found,unused-ignore]

            return {"content_settings": ContentSettings(content_type=content_type)}
    return {}


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()
