"""Makes a Scenario asset of a file, sending its bytes only if nobody in this DAG run has done so before."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import AssetStatus
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioFileError, ScenarioNotFoundError
from airflow_provider_scenario.files.transfer_log import Log
from airflow_provider_scenario.transfers.run_memory import RunMemory, Shelf
from airflow_provider_scenario.transfers.source_file import SourceFile
from airflow_provider_scenario.transfers.upload import SentFile, Uploader
from airflow_provider_scenario.transfers.upload_memory import UploadMemory

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import ScenarioClient


class Intake:
    """Makes assets of files.

    :param client: Who speaks to Scenario.
    :param memory: What the task remembers.
    :param log: The task's logger.
    :param shelf: Where the notes of the run's tasks lie; ``None`` if no other task of it uploads.
    :param timeout: Seconds to wait for an import. Default 600.
    :param poll_interval: Seconds between two looks at it, more than 0. Default 2.
    :raises ScenarioConfigurationError: if one of them is out of range.
    """

    def __init__(
        self,
        client: ScenarioClient,
        memory: UploadMemory,
        log: Log,
        shelf: Shelf | None = None,
        *,
        timeout: float = 600.0,
        poll_interval: float = 2.0,
    ) -> None:
        if not poll_interval > 0 or not timeout >= 0:
            raise ScenarioConfigurationError("poll_interval must be more than 0 seconds, and timeout 0 or more.")
        self._client = client
        self._memory = memory
        self._log = log
        self._timeout = timeout
        self._poll_interval = poll_interval
        self._uploader = Uploader(client, log)
        self._stop = threading.Event()
        self._run = RunMemory(shelf, log, self._stop)

    def stop(self) -> None:
        """End what is under way soon."""
        self._stop.set()
        self._uploader.stop()

    def recall(self, path: str) -> str | None:
        """Return the asset that an earlier try of this task made of the file at a path, without touching the file.

        :param path: The path, as :meth:`take` was given it.
        :raises ScenarioError: if what was sent can't be imported.
        """
        known = self._memory.recall_path(path)
        if known is None or not self._is_there(known[0]):
            return None
        sent, size = known
        if sent.asset_id is None:
            sent = self._imported(sent, size, path, path.rpartition("/")[2])
        self._run.tell(sent, size)
        self._log.info("%s was sent by an earlier try: it is Scenario asset %s", path, sent.asset_id)
        return str(sent.asset_id)

    def take(self, source: SourceFile, name: str | None = None, path: str | None = None) -> str:
        """Return the id of the asset that holds the file's bytes.

        :param source: The file.
        :param name: What Scenario shall call it. Default: the file's name.
        :param path: What to :meth:`recall` it by. Default: the file's path.
        :raises ScenarioError: what stops it; nothing is ever charged.
        """
        name, path = name or source.name, path or str(source.path)
        sent = self._sent_before(source)
        if sent is not None:
            sent = self._kept(sent, source.size, path, name)
        else:
            with self._run.turn(source.size, self._timeout):
                sent = self._sent_by_another(source) or self._uploader.send(source, name)
                sent = self._kept(sent, source.size, path, name)
        self._log.info("%s is Scenario asset %s", source.path, sent.asset_id)
        return str(sent.asset_id)

    def _kept(self, sent: SentFile, size: int, path: str, name: str) -> SentFile:
        """Remember what was sent, for this task and the others, once it is an asset."""
        self._memory.remember(sent, size, path)
        sent = self._imported(sent, size, path, name)
        self._run.tell(sent, size)
        return sent

    def _imported(self, sent: SentFile, size: int, path: str, name: str) -> SentFile:
        if sent.asset_id is not None:
            return sent
        try:
            asset_id = self._uploader.wait(
                str(sent.upload_id), name, timeout=self._timeout, poll_interval=self._poll_interval
            )
        except ScenarioFileError:
            self._memory.forget(sent.sha256)
            raise
        sent = replace(sent, asset_id=asset_id)
        self._memory.remember(sent, size, path)
        return sent

    def _sent_by_another(self, source: SourceFile) -> SentFile | None:
        """Return what another task of the run has sent, if it is these bytes and still good at Scenario."""
        sent = self._run.recall(source.size, source.sha256)
        if sent is None or not self._is_there(sent):
            return None
        self._log.info("%s was sent by another task of this run: not again", source.path)
        return sent

    def _sent_before(self, source: SourceFile) -> SentFile | None:
        """Return what an earlier try sent, if it is still good at Scenario."""
        if not self._memory.has_size(source.size):
            return None
        sent = self._memory.recall(source.sha256())
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
