"""What the storage says when it can't keep or give a file, in words for the DAG's author."""

from __future__ import annotations

import errno
import shutil

from airflow_provider_scenario.exceptions import ScenarioError, ScenarioFileError, ScenarioTransferError

_KEPT = (
    "Nothing was lost at Scenario: the files stay there, and fetching them again is free; no new job is bought. {todo}"
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP)


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
