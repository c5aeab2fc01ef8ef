"""Fetches assets' files from Scenario into a folder: several at once, each whole and right, or not at all.

What counts of a reply of the CDN is judged in ``file_download.py``. A cut is resumed, an ended URL renewed. There is
no limit on the time a file takes while bytes come; a connection that is silent for the connection's time-out, or that
brings less than :data:`SLOWEST` bytes a second for a minute, is given up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.api.mime_types import canonical_type
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import (
    ScenarioFileError,
    ScenarioTransferError,
    ScenarioTransientError,
    redact,
)
from airflow_provider_scenario.files.file_download import (
    FileDownload,
    Received,
    StaleUrlError,
    is_transformed,
    refusal_of,
    total_of,
)
from airflow_provider_scenario.files.manifest import ManifestFile, SavedFile
from airflow_provider_scenario.files.naming import check_asset_id, file_names
from airflow_provider_scenario.files.storage import Folder
from airflow_provider_scenario.files.transfer_log import Progress, megabytes, speed

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_scenario.api.client import ScenarioClient

T = TypeVar("T")
K = TypeVar("K")

PARALLEL = 4
"""Files that are fetched at once."""

CHUNK = 1 << 20
"""Bytes asked of the connection at once."""

RETRY_CONFIG = RetryConfig(attempts=6)
"""How long to keep at a file that doesn't come further. A cut that brought new bytes starts the count anew."""

MOST_ATTEMPTS = 200
"""Connections made for one file at most, however much each of them brought."""

SLOWEST = 100
"""Bytes a second that a connection must bring on average over :data:`SLOW_WINDOW`."""

SLOW_WINDOW = 60.0
"""Seconds over which the speed is judged."""

FIRST_POLL = 1.0
"""Seconds until a pending asset is read again; they double up to :data:`LONGEST_POLL`."""

LONGEST_POLL = 10.0


class _SlowError(ScenarioTransferError):
    """The connection brings hardly any bytes."""


class AssetDownloader:
    """Saves assets in a folder."""

    def __init__(
        self,
        client: ScenarioClient,
        folder: Folder,
        manifest: ManifestFile,
        template: str,
        log: Logger,
        *,
        original: bool = False,
        asset_timeout: float = 600.0,
    ) -> None:
        self._client = client
        self._folder = folder
        self._manifest = manifest
        self._template = template  # as naming.split_destination() returned it
        self._log = log
        self._original = original  # whether to fetch the files before Scenario optimised them
        self._asset_timeout = asset_timeout  # seconds to wait for assets that are still pending
        self._stop = threading.Event()

    def stop(self) -> None:
        """End every transfer soon; none leaves half a file under its final name."""
        self._stop.set()

    def save(self, asset_ids: Sequence[str], facts: Mapping[str, str | None] | None = None) -> list[SavedFile]:
        """Save each asset's file, or keep it if it is there and right. One that fails does not stop the others."""
        facts = facts or {}  # job_id and model_id of the job that made them all, where it is known
        pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="scenario-download")
        try:
            ids = dict(enumerate(asset_ids, start=1))
            assets, missing = _outcomes(pool, self.read_asset, ids)
            names = file_names(self._template, assets, facts, self._manifest.reserved)
            pairs = {place: (asset, names[place]) for place, asset in assets.items()}
            files, unsaved = _outcomes(pool, lambda pair: self._save(*pair), pairs)
        except BaseException:
            self.stop()
            self._manifest.keep_list()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        errors = {ids[place]: error for place, error in sorted({**missing, **unsaved}.items())}
        if errors:
            self._manifest.keep_list()
            self._raise_worst(errors, len(asset_ids))
        made_by = facts.get("job_id")
        return [dataclasses.replace(file, job_id=made_by or file.job_id) for _, file in sorted(files.items())]

    def read_asset(self, asset_id: str) -> Asset:
        """Return the asset with a fresh URL, once its file can be had; its size only where it is that of the file."""
        check_asset_id(asset_id)
        deadline = time.monotonic() + self._asset_timeout
        pause = FIRST_POLL
        while True:
            asset = self._client.send(calls.get_asset(asset_id, original=self._original))
            if asset.status is AssetStatus.ERROR:
                raise ScenarioFileError(
                    f"Scenario has no file for asset {asset_id}: its status is error. Other files of the job are not "
                    "concerned. Run the job again to get it anew, or ask Scenario with this id."
                )
            if asset.status is AssetStatus.SUCCESS and asset.url:
                # Of a file that Scenario transforms on its way the record shows another size.
                return dataclasses.replace(asset, size=None) if is_transformed(asset.url) else asset
            left = deadline - time.monotonic()
            if self._stop.wait(min(pause, max(0.0, left))):
                raise ScenarioTransferError(f"The wait for asset {asset_id} was stopped. The next try goes on with it.")
            if left <= 0:
                raise ScenarioTransferError(
                    f"Asset {asset_id} is still pending at Scenario after {self._asset_timeout:.0f} s. It is not "
                    "lost: the next try looks again."
                )
            pause = min(LONGEST_POLL, pause * 2)

    def _save(self, asset: Asset, name: str) -> SavedFile:
        uri = self._folder.uri(name)
        received = self._already_there(asset, name, uri)
        if received is None:
            self._manifest.remove()
            began = time.monotonic()
            content_type = canonical_type(asset.mime_type)
            received = self._folder.store(name, lambda file: self.fetch(asset, file), content_type)
            pace = speed(received.size, time.monotonic() - began)
            self._log.info("Saved %s: %s, %s", uri, megabytes(received.size), pace)
        saved = SavedFile(
            uri=uri,
            asset_id=asset.id,
            sha256=received.sha256,
            bytes=received.size,
            mime_type=asset.mime_type,
            width=asset.width,
            height=asset.height,
            duration=asset.duration,
            frame_rate=asset.frame_rate,
            kind=asset.kind,
            job_id=asset.job_id,
        )
        self._manifest.note(saved)
        return saved

    def _already_there(self, asset: Asset, name: str, uri: str) -> Received | None:
        """Return what stands there if it is this asset's file by a digest that a manifest of ours holds."""
        held = self._manifest.digest_of(uri, asset.id)
        if held is None:
            return None
        size, sha256 = held
        if size != self._announced_size(asset) or not self._folder.has(name, size, sha256):
            self._log.warning("%s is no longer the file that was saved there: fetching it again.", uri)
            return None
        self._log.info("%s is there already: %s", uri, megabytes(size))
        return Received(sha256, size)

    def _announced_size(self, asset: Asset) -> int | None:
        """Return the size of the asset's file: Scenario's record, else what the CDN says, else ``None``."""
        if asset.size is not None:
            return asset.size
        try:
            with self._client.open_file(asset.url) as stream:
                refused = refusal_of(stream, asset)
                return total_of(stream) if refused is None else None
        except ScenarioTransientError:
            return None

    def fetch(self, asset: Asset, file: BinaryIO) -> Received:
        """Write an asset's file to an empty one that can be read too; its content counts only if this returns."""
        progress = Progress(self._log, asset.id, asset.size)
        with contextlib.closing(FileDownload(asset, file, progress)) as download:
            return self._fetch(asset, download)

    def _fetch(self, asset: Asset, download: FileDownload) -> Received:
        fruitless = 0
        for _ in range(MOST_ATTEMPTS):
            furthest = download.furthest
            try:
                self._receive(asset, download)
                received = download.finish()
                self._confirm(asset, download)
            except ScenarioTransientError as error:
                trouble = error
            else:
                return received
            download.keep_what_fits()
            has_moved = download.furthest > furthest and not isinstance(trouble, _SlowError)
            fruitless = 1 if has_moved else fruitless + 1
            asset = self._wait_and_renew(trouble, asset, fruitless, download)
        raise _given_up(asset, download, f"the connection broke {MOST_ATTEMPTS} times")

    def _receive(self, asset: Asset, download: FileDownload) -> None:
        with self._client.open_file(asset.url, start=download.position) as stream:
            if not download.begin(stream):
                return
            since, before = time.monotonic(), download.position
            for chunk in stream.chunks(CHUNK):
                if self._stop.is_set():
                    raise _stopped(asset)
                download.add(chunk)
                now = time.monotonic()
                if now - since >= SLOW_WINDOW:
                    if download.position - before < SLOWEST * (now - since):
                        raise _SlowError(f"Scenario's CDN brought less than {SLOWEST} bytes a second for a minute.")
                    since, before = now, download.position

    def _confirm(self, asset: Asset, download: FileDownload) -> None:
        """Ask the CDN again how long the file is, where its own word is the only one: a reply may have been short."""
        if asset.size is not None:
            return
        with self._client.open_file(asset.url, start=download.position) as stream:
            refused = refusal_of(stream, asset)
            if refused is not None and stream.status != 416:
                raise refused
            total = total_of(stream)
        if total is None:
            download.check_end()
        elif total != download.position:
            arrived = download.position
            download.begin_anew()
            raise ScenarioTransferError(f"Scenario's CDN sent {arrived} bytes of {asset.id} as all, but has {total}.")

    def _wait_and_renew(
        self, trouble: ScenarioTransientError, asset: Asset, fruitless: int, download: FileDownload
    ) -> Asset:
        """Wait after an attempt that failed, and return the asset for the next one."""
        wait = RETRY_CONFIG.wait_after(trouble, fruitless, repeatable=True)
        if self._stop.is_set():
            raise _stopped(asset)
        if wait is None:
            raise _given_up(asset, download, str(trouble).rstrip("."))
        self._log.info("%s: %s Going on at byte %d in %.1f s.", asset.id, str(trouble), download.position, wait)
        self._stop.wait(wait)
        if isinstance(trouble, StaleUrlError):
            fresh = self.read_asset(asset.id)
            return dataclasses.replace(asset, url=fresh.url, size=fresh.size)
        return asset

    def _raise_worst(self, errors: Mapping[str, Exception], count: int) -> None:
        # A transient one goes first, so that the task's retries bring what they can.
        ordered = sorted(errors.values(), key=lambda error: not isinstance(error, ScenarioTransientError))
        worst = ordered[0]
        if count > 1:
            for asset_id, error in errors.items():
                self._log.warning("Asset %s could not be saved: %s", redact(asset_id)[:100], error)
            named = ", ".join(redact(asset_id)[:100] for asset_id in errors)
            worst.add_note(f"{len(errors)} of {count} files could not be saved; the others are saved. Missing: {named}")
        raise worst


def _outcomes(
    pool: ThreadPoolExecutor, work: Callable[[T], K], items: Mapping[int, T]
) -> tuple[dict[int, K], dict[int, Exception]]:
    """Do the work for every item, and return what came of it by place: values and errors."""
    futures: dict[int, Future[K]] = {place: pool.submit(work, item) for place, item in items.items()}
    values: dict[int, K] = {}
    errors: dict[int, Exception] = {}
    for place, future in futures.items():
        try:
            values[place] = future.result()
        except Exception as error:  # noqa: BLE001 - one file's error must not stop the others; it is raised later
            errors[place] = error
    return values, errors


def _stopped(asset: Asset) -> ScenarioTransferError:
    return ScenarioTransferError(f"Fetching {asset.id} was stopped. Nothing half is left; the next try begins.")


def _given_up(asset: Asset, download: FileDownload, trouble: str) -> ScenarioTransferError:
    return ScenarioTransferError(
        f"The file of asset {asset.id} did not arrive whole: {trouble}. {download.furthest} bytes came at best. "
        "Nothing half was kept, and nothing was lost at Scenario: the next try fetches it again, for free."
    )
