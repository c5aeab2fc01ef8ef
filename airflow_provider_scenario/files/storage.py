"""Folders and buckets: found, written all or nothing, and read back.

A local file is written beside its final name and renamed. An object storage keeps what it has got even if the writer
fails, so a file is made complete on this machine first and then put in one go.

Locks only help to tidy up what killed processes left: a file system without them (NFS, Lustre) is as safe, since every
writer has a part of its own and only renames it.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.sdk import ObjectStoragePath

from airflow_provider_scenario.exceptions import ScenarioError, ScenarioFileError, ScenarioTransferError

T = TypeVar("T")

BLOCK = 1 << 20
"""Bytes that are written or read at once."""

ABANDONED = 24 * 3600.0
"""Seconds without a new byte after which a part is taken for left behind, where there are no locks to tell."""

_LOCAL_PROTOCOLS = ("", "file", "local")

_RENAMING_PROTOCOLS = frozenset({"sftp", "ssh", "smb", "ftp", "hdfs", "webhdfs", "arrow_hdfs"})
"""Storages where a file can be seen while it is written, and that rename in one step."""

_ADVICE = "Give a folder or file such as file:///data/clips, s3://connection@bucket/key or /data/clips."


# --- Where files are


def object_path(given: str | ObjectStoragePath, argument: str) -> ObjectStoragePath:
    """Return the path an author means, sure that its storage and its connection are known here.

    :param given: A URI such as ``s3://connection@bucket/key``, an absolute local path, or a path.
    :param argument: The operator's argument, for the message.
    :raises ScenarioFileError: if it is empty or relative, no storage is registered for its scheme, or its connection
        does not exist or is refused.
    :raises ScenarioTransferError: if the storage can't be reached.
    """
    text = str(given).strip()
    if not text:
        raise ScenarioFileError(f"{argument} is empty. {_ADVICE}")
    if "://" not in text and not text.startswith("/"):
        raise ScenarioFileError(f"{argument} is {text!r}, which is neither a URI nor an absolute path. {_ADVICE}")
    uri = f"file://{text}" if text.startswith("/") else text
    scheme = uri.partition("://")[0]
    try:
        path = ObjectStoragePath(uri)
        _check_connection(path, argument, scheme)
        _ = path.fs
    except (ValueError, ImportError) as error:
        raise ScenarioFileError(
            f"{argument} has the scheme {scheme}://, for which this Airflow has no storage. Check its spelling, or "
            "install the provider that brings it, such as apache-airflow-providers-amazon[s3fs] for s3://. "
            "Nothing was transferred."
        ) from error
    except PermissionError as error:
        raise ScenarioFileError(
            f"The storage of {argument} does not let this worker in ({error}). Check login, password and key of the "
            f"connection {path.conn_id!r}, then clear the task. Nothing was transferred."
        ) from error
    except OSError as error:
        raise ScenarioTransferError(
            f"The storage of {argument} could not be reached ({type(error).__name__}: {error}). Nothing was "
            "transferred; the next try connects anew."
        ) from error
    return path


def _check_connection(path: ObjectStoragePath, argument: str, scheme: str) -> None:
    """Refuse a connection id that does not exist: some storages would go on without one."""
    # Airflow 3.1 keeps it in the options alone.
    conn_id = path.conn_id if hasattr(path, "conn_id") else path.storage_options.get("conn_id")
    if not conn_id or is_local(path):
        return
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        shown = conn_id.partition(":")[0]  # What follows is a password.
        raise ScenarioFileError(
            f"{argument} names the Airflow connection {shown!r}, which does not exist. What stands before the @ of "
            f"{scheme}:// is a connection's id: add that connection or mend the id, then clear the task. Nothing was "
            "transferred."
        ) from None


def is_local(path: ObjectStoragePath) -> bool:
    """Return whether the path is in a file system of this machine."""
    return path.protocol in _LOCAL_PROTOCOLS


# --- What a storage says when it can't keep or give a file

_KEPT = (
    "Nothing was lost at Scenario: the files stay there, and fetching them again is free; no new job is bought. {todo}"
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP)
_NO_RENAME = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EINVAL)


def writing_error(error: Exception, folder: str) -> ScenarioError:
    """Return the error to raise for a file that can't be written.

    :param error: What the file system or the storage raised.
    :param folder: The folder or bucket, for the message.
    :return: :class:`ScenarioFileError` where trying again can't help, else :class:`ScenarioTransferError`.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        todo = f"Make room{_free_space(folder)} or choose another destination, then clear the task."
        return ScenarioFileError(f"There is no space left in {folder}. {_KEPT.format(todo=todo)}")
    if number == errno.EFBIG:
        todo = "Raise the worker's limit for the size of files or choose another destination, then clear the task."
        return ScenarioFileError(f"A file is larger than {folder} or this worker allows. {_KEPT.format(todo=todo)}")
    if number in _FORBIDDEN or isinstance(error, PermissionError):
        todo = "Let the worker's user write there, or choose another destination, then clear the task."
        return ScenarioFileError(f"Writing to {folder} is not allowed ({error}). {_KEPT.format(todo=todo)}")
    if number in _NO_FOLDER or isinstance(error, FileNotFoundError | NotADirectoryError):
        todo = "Give a destination that is a folder, or can become one, then clear the task."
        return ScenarioFileError(f"{folder} can't be used as a folder ({error}). {_KEPT.format(todo=todo)}")
    trouble = f"{type(error).__name__}: {error}"
    todo = "The next try fetches what is missing."
    return ScenarioTransferError(f"Writing to {folder} failed ({trouble}). {_KEPT.format(todo=todo)}")


def reading_error(error: Exception, source: str) -> ScenarioError:
    """Return the error to raise for a source that can't be read.

    :param error: What the file system or the storage raised.
    :param source: The source, for the message.
    :return: :class:`ScenarioFileError` where trying again can't help, else :class:`ScenarioTransferError`.
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ScenarioFileError(f"There is no file {source}. Nothing was uploaded. Check the source and its spelling.")
    if isinstance(error, IsADirectoryError):
        return ScenarioFileError(f"{source} is a folder, not a file. Nothing was uploaded. Name one file.")
    if isinstance(error, PermissionError):
        return ScenarioFileError(f"{source} may not be read ({error}). Nothing was uploaded. Let the worker read it.")
    trouble = f"{type(error).__name__}: {error}"
    return ScenarioTransferError(
        f"Reading {source} failed ({trouble}). Nothing was charged; the next try reads it anew."
    )


def _free_space(folder: str) -> str:
    try:
        return f" ({shutil.disk_usage(folder.removeprefix('file://')).free / 1e6:.1f} MB are free)"
    except OSError:
        return ""


# --- Folders


class Folder(Protocol):
    """Where files are saved. Names are relative to it and may have folders of their own."""

    def prepare(self) -> None:
        """Make the folder if need be.

        :raises ScenarioFileError: if it can't be one.
        """

    def check(self) -> None:
        """Make sure that files can be saved here, before anything is fetched.

        :raises ScenarioError: if they can't.
        """

    def uri(self, name: str) -> str:
        """Return where the file is, as ``ObjectStoragePath`` takes it."""

    def has(self, name: str, size: int, sha256: str) -> bool:
        """Return whether a file of this size and digest stands there, and is no link to another."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a small file, ``None`` if there is none, it is longer or it can't be read."""

    def remove(self, name: str) -> None:
        """Remove the file that stands there, if there is one.

        :raises ScenarioError: if it can't be removed.
        """

    def store(self, name: str, fill: Callable[[BinaryIO], T], content_type: str = "") -> T:
        """Save a file: all of it, or nothing.

        :param name: Its name; what stands there is replaced.
        :param fill: Writes the bytes. If it raises, nothing is saved.
        :param content_type: Its MIME type, for storages that keep one.
        :return: What ``fill`` returned.
        :raises ScenarioFileError: if the file can't be written, for a reason that stays.
        :raises ScenarioTransferError: if it can't be written just now.
        """


def folder_at(path: ObjectStoragePath, fence: ObjectStoragePath | None = None) -> Folder:
    """Return the folder at ``path``.

    :param path: Where.
    :param fence: A folder that it must not lead out of by a symbolic link.
    """
    if not is_local(path):
        return RemoteFolder(path)
    return LocalFolder(Path(path.path), fence=None if fence is None else Path(fence.path))


class LocalFolder:
    """A folder of this machine's file system.

    :param root: Its absolute path.
    :param is_lasting: Whether a saved file has to outlive a loss of power, as a manifest that names it may. Default
        ``True``.
    :param fence: A folder that no symbolic link may lead out of.
    """

    def __init__(self, root: Path, *, is_lasting: bool = True, fence: Path | None = None) -> None:
        self.root = root
        self._is_lasting = is_lasting
        self._fence = fence

    def prepare(self) -> None:
        """Make the folder if need be."""
        self._make(self.root)

    def check(self) -> None:
        """Make the folder, and rename a file in it as every saved file will be."""
        target = self.root / ".scenario-probe"
        self._make(self.root)
        _remove_leftovers(target)
        try:
            part, file = _new_part(target)
            renamed = _part_name(target)
            try:
                with file:
                    _rename(part, renamed)
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
        try:
            with self._open(name) as file:
                content = file.read(limit + 1)
        except OSError:
            return None
        return content if len(content) <= limit else None

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
        _remove_leftovers(target)
        try:
            part, file = _new_part(target)
            try:
                with file:
                    result = fill(file)
                    file.flush()
                    if self._is_lasting:
                        os.fsync(file.fileno())
                    # While the lock is held: nobody may take the part for left behind.
                    _rename(part, target)
            finally:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
            if self._is_lasting:
                _secure_names(target.parent)
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
            if self._fence is not None and not folder.resolve().is_relative_to(self._fence.resolve()):
                raise ScenarioFileError(
                    f"{folder} leads out of root {self._fence} by a symbolic link. Nothing was saved. Remove the link "
                    "or choose another destination."
                )
            folder.mkdir(parents=True, exist_ok=True)
        except RuntimeError as error:  # a symbolic link to itself
            raise writing_error(OSError(errno.ELOOP, str(error)), str(folder)) from error
        except OSError as error:
            raise writing_error(error, str(folder)) from error


class RemoteFolder:
    """A folder, or a prefix of keys, of any other storage.

    :param root: Where.
    """

    def __init__(self, root: ObjectStoragePath) -> None:
        self.root = root
        self._storage = root.fs
        # Some storages, such as sshfs, do not tell their own protocol.
        self._protocols = frozenset({root.protocol, *_protocols(self._storage)})

    def prepare(self) -> None:
        """Do nothing, as :meth:`check`."""

    def check(self) -> None:
        """Do nothing: object storages have no folders, and the others make them with the file."""

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
        if size is None or size > limit:
            return None
        try:
            return bytes(self._storage.cat_file(self._path(name)))
        except Exception:  # noqa: BLE001
            return None

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
        with staging_folder() as staging:
            stage = LocalFolder(staging, is_lasting=False)
            result = stage.store("file", fill)
            self._put(staging / "file", name, content_type)
        return result

    def _put(self, staged: Path, name: str, content_type: str) -> None:
        size, before = staged.stat().st_size, self._size(name)
        try:
            if _RENAMING_PROTOCOLS & self._protocols:
                self._put_and_rename(staged, self._path(name))
            else:
                _put_typed(self._storage, self._protocols, staged, self._path(name), content_type)
        except Exception as error:
            self._remove_half(name, before, size)
            raise writing_error(error, str(self.root)) from error
        stored = self._size(name)
        if stored != size:
            self._remove_half(name, before, size)
            raise ScenarioTransferError(
                f"{self.uri(name)} has {stored} bytes after {size} were put there. It was removed; the next try puts "
                "it again. Nothing was lost at Scenario."
            )

    def _put_and_rename(self, staged: Path, path: str) -> None:
        folder, part = path.rpartition("/")[0], f"{path}.{secrets.token_hex(4)}.part"
        if folder:
            self._storage.makedirs(folder, exist_ok=True)
        try:
            self._storage.put_file(str(staged), part)
            self._storage.mv(part, path)
        except Exception:
            with contextlib.suppress(Exception):
                self._storage.rm_file(part)
            raise

    def _remove_half(self, name: str, before: int | None, size: int) -> None:
        """Remove what a failed put has left, but not the file that stood there before."""
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


# --- Parts: files that are being written


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


def _part_name(target: Path) -> Path:
    """Return a name of its own: another process may be writing the same file."""
    return target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")


def _new_part(target: Path) -> tuple[Path, BinaryIO]:
    """Open a new part of a file for writing, and hold it."""
    while True:
        part = _part_name(target)
        file = part.open("xb")
        # Whoever tidies up may have taken it for left behind before it was held.
        if _lock(file.fileno()) is not _Lock.BUSY and part.exists():
            return part, file
        file.close()
        part.unlink(missing_ok=True)


def _rename(part: Path, target: Path) -> None:
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


def _secure_names(folder: Path) -> None:
    """Bring a folder's names to the disk: a renamed file may otherwise be lost when the power is."""
    with contextlib.suppress(OSError):  # some network file systems can't, and keep names at once
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _remove_leftovers(target: Path) -> None:
    """Remove the parts of a file that killed processes left behind: those that nobody holds."""
    with contextlib.suppress(OSError):
        for part in target.parent.iterdir():
            if part.name.startswith(f"{target.name}.") and part.name.endswith(".part"):
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


# --- Staging: folders on this machine in which files are made complete before they go elsewhere

_LOCK_NAME = "lock"


@contextlib.contextmanager
def staging_folder() -> Iterator[Path]:
    """Give an empty folder that is removed at the end, and remove those that killed processes left behind.

    It is in the machine's folder for temporary files (``TMPDIR``).

    :raises ScenarioError: if there can be none.
    """
    try:
        base = _staging_base()
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
    base = Path(tempfile.gettempdir()) / f"scenario-staging-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        base.mkdir(mode=0o700)
    facts = base.lstat()
    is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    return base if is_ours else Path(tempfile.mkdtemp(prefix="scenario-staging-"))


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
