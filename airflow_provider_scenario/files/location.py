"""Where files are: an author's path or URI made a path, and what its storage says when it can't be used."""

from __future__ import annotations

import errno
import shutil
import sys

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.sdk import ObjectStoragePath

from airflow_provider_scenario.exceptions import ScenarioError, ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.files.naming import is_unwritable

_LOCAL_PROTOCOLS = ("", "file", "local")

_ADVICE = "Give a folder or file such as file:///data/clips, s3://connection@bucket/key or /data/clips."

STAGING_PREFIX = "scenario-staging-"
"""How the folders for temporary files begin in which a file is made complete."""

_KEPT = (
    "Nothing was lost at Scenario: the files stay there, and fetching them again is free; no new job is bought. {todo}"
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_FILE = (errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP)
_NO_FOLDER = (*NO_FILE, errno.EEXIST, errno.EINVAL)

_SFTP_STATUS = {
    2: errno.ENOENT,
    3: errno.EACCES,
    10: errno.ENOENT,
    12: errno.EROFS,
    14: errno.ENOSPC,
    15: errno.EDQUOT,
    19: errno.ENOTDIR,
    21: errno.ELOOP,
    24: errno.EISDIR,
}
"""What an SFTP server's status says, as far as it says it: asyncssh makes errors of its own of them."""


_HTTP_STATUS = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT}
"""What the errors of object storages mean that carry a status of HTTP."""

_PLAIN_ERRORS = {
    FileNotFoundError: errno.ENOENT,
    NotADirectoryError: errno.ENOTDIR,
    IsADirectoryError: errno.EISDIR,
    PermissionError: errno.EACCES,
}
"""Storages raise these without a number."""


def object_path(given: str | ObjectStoragePath, argument: str, *, is_source: bool = False) -> ObjectStoragePath:
    """Return the path an author means, sure that its storage and its connection are known here."""
    text = str(given).strip()
    if not text:
        raise ScenarioFileError(f"{argument} is empty. {_ADVICE}")
    # Python shows a byte of a local name that is no UTF-8 as one of these: it can be read, but no manifest can name it.
    is_local_source = is_source and text.startswith(("/", "file:"))
    if any(is_unwritable(sign) and not (is_local_source and "\udc80" <= sign <= "\udcff") for sign in text):
        raise ScenarioFileError(
            f"{argument} is {text!r}. Airflow takes line breaks out of a path, which would make it another one, and no "
            "storage can write half a character, so control characters are refused, and what is no Unicode. Rename the "
            "file or folder."
        )
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
            f"connection {_without_password(_connection_of(path))!r}, then clear the task. Nothing was transferred."
        ) from error
    except OSError as error:
        raise ScenarioTransferError(
            f"The storage of {argument} could not be reached ({type(error).__name__}: {error}). Nothing was "
            "transferred; the next try connects anew."
        ) from error
    return path


def _connection_of(path: ObjectStoragePath) -> str | None:
    """Return the id of a path's connection. Airflow 3.1 keeps it in the options alone."""
    conn_id: str | None = path.conn_id if hasattr(path, "conn_id") else path.storage_options.get("conn_id")
    return conn_id


def _without_password(conn_id: str | None) -> str:
    """Return what stands before the @ of a URI, for a message: what follows a colon there is a password."""
    return (conn_id or "").partition(":")[0]


def _check_connection(path: ObjectStoragePath, argument: str, scheme: str) -> None:
    """Refuse a connection id that does not exist: some storages would go on without one."""
    conn_id = _connection_of(path)
    if not conn_id or is_local(path):
        return
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ScenarioFileError(
            f"{argument} names the Airflow connection {_without_password(conn_id)!r}, which does not exist. What "
            f"stands before the @ of {scheme}:// is a connection's id: add that connection or correct the id, then "
            "clear the task. Nothing was transferred."
        ) from None


def is_local(path: ObjectStoragePath) -> bool:
    """Return whether the path is in a file system of this machine."""
    return path.protocol in _LOCAL_PROTOCOLS


def writing_error(error: Exception, folder: str) -> ScenarioError:
    """Return the error for a file that can't be written: ``ScenarioFileError`` where trying again can't help."""
    number = _number_of(error)
    if number == errno.EISDIR:
        todo = "Move that folder away or choose another name, then clear the task."
        return ScenarioFileError(
            f"In {folder} a folder stands where a file is to be saved ({error}). {_KEPT.format(todo=todo)}"
        )
    if number in _FULL:
        other = "choose another destination"
        if STAGING_PREFIX in folder:
            other = "let TMPDIR name a larger folder: a file stands there until it is put to its storage"
        todo = f"Make room{_free_space(folder)} or {other}. Then clear the task."
        return ScenarioFileError(f"There is no space left in {folder}. {_KEPT.format(todo=todo)}")
    if number == errno.EFBIG:
        todo = "Raise the worker's limit for the size of files or choose another destination, then clear the task."
        return ScenarioFileError(f"A file is larger than {folder} or this worker allows. {_KEPT.format(todo=todo)}")
    if number == errno.ENOTSUP:
        todo = "Choose another destination, or let the server rename, then clear the task."
        return ScenarioFileError(f"{folder} can't replace a file in one step ({error}). {_KEPT.format(todo=todo)}")
    if number in _FORBIDDEN:
        todo = "Let the worker's user write there, or choose another destination, then clear the task."
        return ScenarioFileError(f"Writing to {folder} is not allowed ({error}). {_KEPT.format(todo=todo)}")
    if number in _NO_FOLDER:
        todo = "Give a destination that is a folder, or can become one, then clear the task. A bucket must exist."
        return ScenarioFileError(f"{folder} can't be used as a folder ({error}). {_KEPT.format(todo=todo)}")
    trouble = f"{type(error).__name__}: {error}"
    todo = "The next try fetches what is missing."
    return ScenarioTransferError(f"Writing to {folder} failed ({trouble}). {_KEPT.format(todo=todo)}")


def reading_error(error: Exception, source: str) -> ScenarioError:
    """Return the error for a source that can't be read: ``ScenarioFileError`` where trying again can't help."""
    number = _number_of(error)
    if number == errno.EISDIR:
        return ScenarioFileError(f"{source} is a folder, not a file. Nothing was uploaded. Name one file.")
    if number in NO_FILE:
        why = "" if number in (errno.ENOENT, errno.ENOTDIR) else f" ({error})"
        return ScenarioFileError(
            f"There is no file {source}{why}.\nNothing was uploaded.\nCheck the source and its spelling."
        )
    if number in _FORBIDDEN:
        return ScenarioFileError(f"{source} may not be read ({error}). Nothing was uploaded. Let the worker read it.")
    trouble = f"{type(error).__name__}: {error}"
    return ScenarioTransferError(
        f"Reading {source} failed ({trouble}). Nothing was charged; the next try reads it anew."
    )


def _number_of(error: Exception) -> int | None:
    """Return what an error says in the numbers of this machine, ``None`` if it is in none of them."""
    for kind, number in _PLAIN_ERRORS.items():
        if isinstance(error, kind):
            return number
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, OSError) and str(error).startswith("Forbidden"):  # as gcsfs says it
        return errno.EACCES
    asyncssh = sys.modules.get("asyncssh")  # not imported for those who do without
    if asyncssh and isinstance(error, asyncssh.SFTPError):
        return _SFTP_STATUS.get(error.code)
    # Azure's and Google's errors carry HTTP's status.
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    return _HTTP_STATUS.get(status) if isinstance(status, int) else None


def _free_space(folder: str) -> str:
    try:
        return f" ({shutil.disk_usage(folder.removeprefix('file://')).free / 1e6:.1f} MB are free)"
    except OSError:
        return ""
