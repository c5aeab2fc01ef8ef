"""Storages: what an author writes for a path, and what a storage says when it can't give a file."""

from __future__ import annotations

from airflow.sdk import ObjectStoragePath

from airflow_provider_scenario.exceptions import ScenarioError, ScenarioFileError, ScenarioTransferError

_LOCAL_PROTOCOLS = ("", "file", "local")


def object_path(given: str | ObjectStoragePath, argument: str) -> ObjectStoragePath:
    """Return the path an author means, sure that its storage is one Airflow knows here.

    :param given: A URI such as ``s3://connection@bucket/key``, an absolute local path, or a path.
    :param argument: The operator's argument, for the message.
    :raises ScenarioFileError: if it is empty or relative, or no storage is registered for its scheme.
    """
    text = str(given).strip()
    if not text:
        raise ScenarioFileError(f"{argument} is empty. {_ADVICE}")
    if "://" not in text and not text.startswith("/"):
        raise ScenarioFileError(f"{argument} is {text!r}, which is neither a URI nor an absolute path. {_ADVICE}")
    uri = f"file://{text}" if text.startswith("/") else text
    try:
        path = ObjectStoragePath(uri)
        _ = path.fs
    except (ValueError, ImportError) as error:
        scheme = uri.partition("://")[0]
        raise ScenarioFileError(
            f"{argument} has the scheme {scheme}://, for which this Airflow has no storage. Check its spelling, or "
            "install the provider that brings it, such as apache-airflow-providers-amazon[s3fs] for s3://. "
            "Nothing was transferred."
        ) from error
    return path


_ADVICE = "Give a folder or file such as file:///data/clips, s3://connection@bucket/key or /data/clips."


def is_local(path: ObjectStoragePath) -> bool:
    """Return whether the path is in a file system of this machine."""
    return path.protocol in _LOCAL_PROTOCOLS


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
