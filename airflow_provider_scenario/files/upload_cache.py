"""Makes a Scenario asset of a file, once: a retry of the task sends no bytes again.

A task remembers its uploads in its state store. It finds them by what the author wrote, even if the file is gone, and
by their digest. The first holds until a person clears the task, who wants the file read anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import AssetStatus
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioFileError, ScenarioNotFoundError
from airflow_provider_scenario.files.source import SourceFile
from airflow_provider_scenario.files.transfer_log import Log
from airflow_provider_scenario.files.upload import SentFile, Uploader

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import ScenarioClient


KEY = "scenario_uploads"
"""Where the record is kept. Never rename it: tasks under way would forget."""


class StateStore(Protocol):
    """The part of Airflow's task state store (3.3 and later) that is used here."""

    def get(self, key: str) -> Any:
        """Return a value, or ``None``."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value, for as long as ``retention`` says."""


class UploadCache:
    """Remembers which bytes became which asset.

    :param store: The task's state store; ``None`` below Airflow 3.3, where nothing can be remembered.
    :param max_tries: Airflow's count that a clear raises and a retry does not.
    """

    def __init__(self, store: StateStore | None, max_tries: int | None = None) -> None:
        self._store = store
        self._max_tries = max_tries

    def has_size(self, size: int) -> bool:
        """Return whether a file of this size was sent, so that it is worth its digest."""
        return any(record.get("bytes") == size for record in self._records().values())

    def recall(self, sha256: str) -> SentFile | None:
        """Return what became of these bytes."""
        record = self._records().get(sha256)
        return _sent(sha256, record) if record else None

    def recall_path(self, path: str) -> tuple[SentFile, int] | None:
        """Return what became of the file at a path since the task was last cleared, and its bytes."""
        for sha256, record in self._records().items():
            if path in record.get("paths", {}) and record["paths"][path] == self._max_tries:
                return _sent(sha256, record), record["bytes"]
        return None

    def remember(self, sent: SentFile, size: int, path: str) -> None:
        """Keep what became of the file of ``size`` bytes at ``path``."""
        records = {digest: {**record, "paths": _without(path, record)} for digest, record in self._records().items()}
        paths = {**records.get(sent.sha256, {}).get("paths", {}), path: self._max_tries}
        record = {"bytes": size, "asset_id": sent.asset_id, "upload_id": sent.upload_id, "paths": paths}
        self._keep({**records, sent.sha256: record})

    def forget(self, sha256: str) -> None:
        """Forget a file whose upload came to nothing."""
        self._keep({digest: record for digest, record in self._records().items() if digest != sha256})

    def _records(self) -> Mapping[str, Mapping[str, Any]]:
        records = self._store.get(KEY) if self._store is not None else None
        return records if isinstance(records, Mapping) else {}

    def _keep(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        if self._store is None:
            return
        # Not Airflow's 30 days: as long as the purchase is known, so is what was sent for it.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # missing in its stub

        self._store.set(KEY, dict(records), retention=NEVER_EXPIRE)


def _without(path: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {other: tries for other, tries in record.get("paths", {}).items() if other != path}


def _sent(sha256: str, record: Mapping[str, Any]) -> SentFile:
    return SentFile(sha256, record.get("asset_id"), record.get("upload_id"))


class AssetUploader:
    """Makes assets of files.

    :param client: Who speaks to Scenario.
    :param cache: What the task remembers.
    :param log: The task's logger.
    :param import_timeout: Seconds to wait for an import. Default 600.
    :param poll_interval: Seconds between two looks at it, more than 0. Default 2.
    :raises ScenarioConfigurationError: if one of them is out of range.
    """

    def __init__(
        self,
        client: ScenarioClient,
        cache: UploadCache,
        log: Log,
        *,
        import_timeout: float = 600.0,
        poll_interval: float = 2.0,
    ) -> None:
        if not poll_interval > 0 or not import_timeout >= 0:
            raise ScenarioConfigurationError("poll_interval must be more than 0 seconds, and import_timeout 0 or more.")
        self._client = client
        self._cache = cache
        self._log = log
        self._import_timeout = import_timeout
        self._poll_interval = poll_interval
        self._uploader = Uploader(client, log)

    def stop(self) -> None:
        """End what is under way soon."""
        self._uploader.stop()

    def find_existing(self, path: str) -> str | None:
        """Return the asset that an earlier try of this task made of the file at a path, without touching the file.

        :param path: The path, as :meth:`upload` was given it.
        :raises ScenarioError: if what was sent can't be imported.
        """
        known = self._cache.recall_path(path)
        if known is None or not self._is_there(known[0]):
            return None
        sent, size = known
        if sent.asset_id is None:
            sent = self._imported(sent, size, path, path.rpartition("/")[2])
        self._log.info("%s was sent by an earlier try: it is Scenario asset %s", path, sent.asset_id)
        return str(sent.asset_id)

    def upload(self, source: SourceFile, name: str | None = None, path: str | None = None) -> str:
        """Return the id of the asset that holds the file's bytes.

        :param source: The file.
        :param name: What Scenario shall call it. Default: the file's name.
        :param path: What to :meth:`find_existing` it by. Default: the file's path.
        :raises ScenarioError: what stops it; nothing is ever charged.
        """
        name, path = name or source.name, path or str(source.path)
        sent = self._sent_before(source) or self._uploader.send(source, name)
        self._cache.remember(sent, source.size, path)
        sent = self._imported(sent, source.size, path, name)
        self._log.info("%s is Scenario asset %s", source.path, sent.asset_id)
        return str(sent.asset_id)

    def _imported(self, sent: SentFile, size: int, path: str, name: str) -> SentFile:
        if sent.asset_id is not None:
            return sent
        try:
            asset_id = self._uploader.wait(
                str(sent.upload_id), name, timeout=self._import_timeout, poll_interval=self._poll_interval
            )
        except ScenarioFileError:
            self._cache.forget(sent.sha256)
            raise
        sent = replace(sent, asset_id=asset_id)
        self._cache.remember(sent, size, path)
        return sent

    def _sent_before(self, source: SourceFile) -> SentFile | None:
        """Return what an earlier try sent, if it is still good at Scenario."""
        if not self._cache.has_size(source.size):
            return None
        sent = self._cache.recall(source.sha256())
        if sent is None or not self._is_there(sent):
            return None
        self._log.info("%s was sent by an earlier try: not again", source.path)
        return sent

    def _is_there(self, sent: SentFile) -> bool:
        try:
            if sent.asset_id is not None:
                return self._client.send(calls.get_asset(sent.asset_id)).status is not AssetStatus.ERROR
            self._client.send(calls.get_upload(str(sent.upload_id)))
        except ScenarioNotFoundError:
            return False
        return True
