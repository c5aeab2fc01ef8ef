"""What a task has uploaded, in its state store, so that a retry sends no bytes again.

It finds an upload by what the author wrote, even if the file is gone, and by the file's digest. The first holds until a
person clears the task, who wants the file read anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

KEY = "scenario_uploads"
"""Where the record is kept. Never rename it: tasks under way would forget."""


class StateStore(Protocol):
    """The part of Airflow's task state store (3.3 and later) that is used here."""

    def get(self, key: str) -> Any:
        """Return a value, or ``None``."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value, for as long as ``retention`` says."""


@dataclass(frozen=True)
class SentFile:
    """A file whose bytes are all at Scenario.

    :param sha256: Its digest in hexadecimal.
    :param asset_id: The asset, if it is one already.
    :param upload_id: The upload that will be one.
    """

    sha256: str
    asset_id: str | None = None
    upload_id: str | None = None


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
