"""Makes a Scenario asset of a file, once: sends it, in parts if it is large, remembers that, and awaits its import."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import AssetStatus, Upload, UploadPart
from airflow_provider_scenario.api.response import is_transient
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import (
    ScenarioError,
    ScenarioFileError,
    ScenarioNotFoundError,
    ScenarioServerError,
    ScenarioTimeoutError,
    ScenarioTransferError,
    ScenarioTransientError,
)
from airflow_provider_scenario.files.source import SourceFile
from airflow_provider_scenario.files.transfer_log import Progress, megabytes, speed

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_scenario.api.client import ScenarioClient

LARGEST_DIRECT_IMAGE = 3_500_000
"""Bytes of an image that goes in one call: in base64 it stays below the 6 MB of Scenario's page on uploads."""

SMALLEST_PART = 8 << 20
LARGEST_PART = 32 << 20
MANY_PARTS = 1000
"""Parts from which on they grow, so that the reply with their URLs stays small."""

PARALLEL = 4
"""Parts that are sent at once."""

RETRY_CONFIG = RetryConfig(attempts=6)
"""How long to keep at one part."""

CACHE_KEY = "scenario_uploads"
"""Where a task keeps what it has sent. Never rename it: tasks under way would forget."""


def part_size_of(size: int) -> int:
    """Return the bytes of every part but the last, for a file of ``size`` bytes: 8 to 32 MiB."""
    wanted = -(-size // MANY_PARTS)
    return max(SMALLEST_PART, min(LARGEST_PART, -(-wanted // (1 << 20)) << 20))


class FileSender:
    """Sends files of one project."""

    def __init__(self, client: ScenarioClient, log: Logger) -> None:
        self._client = client
        self._log = log
        self._stop = threading.Event()

    def stop(self) -> None:
        """End what is under way soon."""
        self._stop.set()

    def send(self, source: SourceFile, name: str) -> SentFile:
        """Send a file: a small image in one call, anything else in parts."""
        began = time.monotonic()
        if source.media.kind == "image" and source.size < LARGEST_DIRECT_IMAGE:
            sent = self._send_at_once(source, name)
        else:
            sent = self._send_in_parts(source, name)
        pace = speed(source.size, time.monotonic() - began)
        self._log.info("Sent %s: %s, %s", source.path, megabytes(source.size), pace)
        return sent

    def wait(self, upload_id: str, name: str, *, timeout: float, poll_interval: float) -> str:
        """Wait at most ``timeout`` seconds until an upload is imported, and return the asset's id."""
        deadline = time.monotonic() + timeout
        while True:
            upload = self._look(upload_id)
            if upload is not None and upload.has_failed:
                raise ScenarioFileError(
                    f"Scenario could not import {name}: {upload.error or 'it gave no reason'}. Nothing was charged. "
                    "Check that the file plays, and its format."
                )
            if upload is not None and upload.asset_id is not None:
                return upload.asset_id
            left = deadline - time.monotonic()
            if self._stop.wait(min(poll_interval, max(0.0, left))):
                raise ScenarioTransferError(
                    f"The wait for upload {upload_id} was stopped. The next try goes on with it."
                )
            if left <= 0:
                raise ScenarioTimeoutError(
                    f"Scenario has not imported {name} within {timeout:.0f} s. All its bytes are there, nothing was "
                    f"charged, and upload {upload_id} goes on: the next try looks for it first."
                )

    def _go_on(self, source: SourceFile) -> None:
        """Raise if the transfer is to end: nothing more may be sent then."""
        if self._stop.is_set():
            raise ScenarioTransferError(
                f"The upload of {source.name} was stopped. Nothing was charged; the next try sends the file anew."
            )

    def _look(self, upload_id: str) -> Upload | None:
        try:
            return self._client.send(calls.get_upload(upload_id))
        except ScenarioTransientError as error:
            self._log.warning("%s Looking again.", error)
            return None

    def _send_at_once(self, source: SourceFile, name: str) -> SentFile:
        content = b"".join(source.pieces(source.size))
        self._go_on(source)
        asset = self._client.send(calls.upload_image(name, base64.b64encode(content).decode("ascii")))
        return SentFile(hashlib.sha256(content).hexdigest(), asset_id=asset.id)

    def _send_in_parts(self, source: SourceFile, name: str) -> SentFile:
        part_size = part_size_of(source.size)
        count = -(-source.size // part_size)
        media = source.media
        self._go_on(source)
        upload = self._client.send(
            calls.start_upload(name, size=source.size, content_type=media.content_type, kind=media.kind, parts=count)
        )
        parts = sorted(upload.parts, key=lambda part: part.number)
        if len(parts) != count:
            raise ScenarioServerError(
                f"Scenario prepared {len(parts)} parts for {name} where {count} were asked for. Nothing was charged."
            )
        digest = self._send_parts(source, parts, source.pieces(part_size))
        self._go_on(source)
        done = self._client.send(calls.complete_upload(upload.id))
        return SentFile(digest, asset_id=done.asset_id, upload_id=upload.id)

    def _send_parts(self, source: SourceFile, parts: list[UploadPart], pieces: Iterator[bytes]) -> str:
        """Send every part, some at once, holding no more of the file than those; return the file's digest."""
        digest, progress, sent = hashlib.sha256(), Progress(self._log, source.name, source.size), 0
        under_way: deque[Future[int]] = deque()
        pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="scenario-upload")
        try:
            for part, piece in zip(parts, pieces, strict=True):
                digest.update(piece)
                self._go_on(source)
                if len(under_way) == PARALLEL:
                    sent += under_way.popleft().result()
                    progress.reach(sent)
                under_way.append(pool.submit(self._send_part, part, piece, source))
            while under_way:
                sent += under_way.popleft().result()
                progress.reach(sent)
        except BaseException:
            self.stop()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return digest.hexdigest()

    def _send_part(self, part: UploadPart, content: bytes, source: SourceFile) -> int:
        for attempt in itertools.count(1):
            self._go_on(source)
            error = self._put(part, content, source)
            if error is None:
                break
            wait = RETRY_CONFIG.wait_after(error, attempt, repeatable=True)
            if wait is None or self._stop.wait(wait):
                raise error
        return len(content)

    def _put(self, part: UploadPart, content: bytes, source: SourceFile) -> ScenarioError | None:
        """Put one part once, and return what went wrong."""
        where = f"Part {part.number} of {source.name} did not get through"
        after = "Nothing was charged; the next try sends the file anew."
        try:
            status = self._client.put_part(part.url, content, source.media.content_type)
        except ScenarioTransientError as error:
            return ScenarioTransferError(f"{where}: {error} {after}")
        if 200 <= status < 300:
            return None
        refusal = ScenarioTransferError(f"{where}: HTTP {status}. {after}")
        if not is_transient(status):
            raise refusal  # the URL has ended: sending the part there again is in vain
        return refusal


@dataclass(frozen=True)
class SentFile:
    """A file whose bytes are all at Scenario, as an asset already or as an upload that will be one."""

    sha256: str
    asset_id: str | None = None
    upload_id: str | None = None

    def __post_init__(self) -> None:
        if self.asset_id is None and self.upload_id is None:
            raise ValueError("a file that was sent is an asset or an upload")


class UploadCache:
    """Remembers in a task's state store which bytes became which asset, so that a retry sends no bytes again."""

    def __init__(self, store: Any, max_tries: int | None = None) -> None:
        self._store = store  # None below Airflow 3.3, where nothing can be remembered
        # Airflow's count that a clear raises and a retry does not.
        self._max_tries = max_tries

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> UploadCache:
        """Return the cache of a task."""
        return cls(context.get("task_state_store"), context["ti"].max_tries)

    def has_size(self, size: int) -> bool:
        """Return whether a file of this size was sent, so that it is worth its digest."""
        return any(record.get("bytes") == size for record in self._records().values())

    def recall(self, sha256: str) -> SentFile | None:
        """Return what became of these bytes."""
        record = self._records().get(sha256)
        return _sent(sha256, record) if record else None

    def recall_path(self, path: str) -> tuple[SentFile, int] | None:
        """Return what became of the file at a path since the task was last cleared, and its bytes."""
        # By what the author wrote, so even if the file is gone. A person who clears the task wants it read anew.
        for sha256, record in self._records().items():
            sent, paths = _sent(sha256, record), record.get("paths", {})
            if sent is not None and path in paths and paths[path] == self._max_tries:
                return sent, record["bytes"]
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
        records = self._store.get(CACHE_KEY) if self._store is not None else None
        return records if isinstance(records, Mapping) else {}

    def _keep(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        if self._store is None:
            return
        # Not Airflow's 30 days: as long as the purchase is known, so is what was sent for it.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # missing in its stub

        self._store.set(CACHE_KEY, dict(records), retention=NEVER_EXPIRE)


def _without(path: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {other: tries for other, tries in record.get("paths", {}).items() if other != path}


def _sent(sha256: str, record: Mapping[str, Any]) -> SentFile | None:
    """Return what a record says; ``None`` if somebody has damaged it: then the file is sent again."""
    asset_id, upload_id = record.get("asset_id"), record.get("upload_id")
    return SentFile(sha256, asset_id, upload_id) if asset_id or upload_id else None


class AssetUploader:
    """Makes assets of files."""

    def __init__(
        self,
        client: ScenarioClient,
        cache: UploadCache,
        log: Logger,
        *,
        import_timeout: float = 600.0,
        poll_interval: float = 2.0,
    ) -> None:
        self._client = client
        self._cache = cache
        self._log = log
        self._import_timeout = import_timeout  # seconds to wait for an import
        self._poll_interval = poll_interval  # seconds between two polls of it, more than 0
        self._uploader = FileSender(client, log)

    def stop(self) -> None:
        """End what is under way soon."""
        self._uploader.stop()

    def find_existing(self, path: str) -> str | None:
        """Return the asset that an earlier try of this task made of the file at a path, without touching the file."""
        known = self._cache.recall_path(path)
        if known is None or not self._is_there(known[0]):
            return None
        sent, size = known
        if sent.asset_id is None:
            sent = self._imported(sent, size, path, path.rpartition("/")[2])
        self._log.info("%s was sent by an earlier try: it is Scenario asset %s", path, sent.asset_id)
        return str(sent.asset_id)

    def upload(self, source: SourceFile, name: str | None = None, path: str | None = None) -> str:
        """Return the id of the asset that holds the file's bytes; ``path`` is what to :meth:`find_existing` it by."""
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
        sent = dataclasses.replace(sent, asset_id=asset_id)
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
