"""Brings assets of Scenario into a folder: several at once, each whole or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioFileError, ScenarioTransientError
from airflow_provider_scenario.transfers.arrival import Received
from airflow_provider_scenario.transfers.asset_source import AssetSource
from airflow_provider_scenario.transfers.download import Downloader
from airflow_provider_scenario.transfers.folder import Folder
from airflow_provider_scenario.transfers.manifest_file import ManifestFile
from airflow_provider_scenario.transfers.naming import file_names, template_fields_of
from airflow_provider_scenario.transfers.progress import Log, megabytes, speed
from airflow_provider_scenario.transfers.saved_file import SavedFile

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import ScenarioClient

T = TypeVar("T")
K = TypeVar("K")

PARALLEL = 4
"""Files that are fetched at once."""


class Delivery:
    """Saves assets in a folder.

    :param client: Who asks Scenario.
    :param folder: Where files go; it must be prepared.
    :param manifest: The manifest of what stands there: withdrawn before a file changes.
    :param template: How they are called, as :func:`~.naming.split_destination` returned it.
    :param log: The task's logger.
    :param original: Whether to fetch the files before Scenario optimised them. Default: no.
    :param timeout: Seconds to wait for assets that are still pending. Default 600.
    """

    def __init__(
        self,
        client: ScenarioClient,
        folder: Folder,
        manifest: ManifestFile,
        template: str,
        log: Log,
        *,
        original: bool = False,
        timeout: float = 600.0,
    ) -> None:
        self._stop = threading.Event()
        self._source = AssetSource(client, original=original, timeout=timeout, stop=self._stop)
        self._folder = folder
        self._manifest = manifest
        self._template = template
        self._downloader = Downloader(self._source, log)
        self._log = log

    def stop(self) -> None:
        """End every transfer soon; none leaves half a file under its final name."""
        self._stop.set()

    def deliver(self, asset_ids: Sequence[str], facts: Mapping[str, str | None] | None = None) -> list[SavedFile]:
        """Save each asset's file, or keep the one that is there and right.

        If some can't be saved, the others still are.

        :param asset_ids: The assets, each once.
        :param facts: ``job_id`` and ``model_id`` of the job that made them all, where it is known.
        :return: One fact sheet a file, in order.
        :raises ScenarioError: the error of the first that could not be saved; a passing one goes first, so that the
            task's retries bring what they can.
        """
        facts = facts or {}
        pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="scenario-download")
        try:
            assets, missing = _outcomes(pool, self._source.fresh, dict(enumerate(asset_ids, start=1)))
            reserved = () if self._manifest.name is None else (self._manifest.name,)
            names = file_names(self._template, assets, facts, reserved)
            files, unsaved = _outcomes(pool, lambda item: self._save(*item), _zipped(assets, names))
        except BaseException:
            self.stop()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        _raise_worst([*missing.values(), *unsaved.values()], len(asset_ids))
        made_by = facts.get("job_id")
        return [replace(file, job_id=made_by or file.job_id) for _, file in sorted(files.items())]

    def _save(self, asset: Asset, name: str) -> SavedFile:
        uri = self._folder.uri(name)
        received = self._already_there(asset, name)
        if received is None:
            self._manifest.withdraw()
            began = time.monotonic()
            received = self._folder.store(name, lambda file: self._downloader.fetch(asset, file))
            pace = speed(received.size, time.monotonic() - began)
            self._log.info("Saved %s: %s, %s", uri, megabytes(received.size), pace)
        return SavedFile(
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

    def _already_there(self, asset: Asset, name: str) -> Received | None:
        """Return what stands there if it is this asset's file: of its size, under a name that holds its id."""
        if "asset_id" not in template_fields_of(self._template):
            return None
        size = self._folder.size(name)
        if not size or size != self._downloader.announced_size(asset):
            return None
        try:
            digest = self._folder.sha256(name)
        except ScenarioFileError as error:
            uri = self._folder.uri(name)
            self._log.warning("%s can't be read any more (%s): fetching it again.", uri, error.__cause__)
            return None
        self._log.info("%s is there already: %s", self._folder.uri(name), megabytes(size))
        return Received(digest, size)


def _outcomes(
    pool: ThreadPoolExecutor, work: Callable[[T], K], items: Mapping[int, T]
) -> tuple[dict[int, K], dict[int, ScenarioError]]:
    """Do the work for every item, and return what came of it by place: values and errors."""
    futures: dict[int, Future[K]] = {place: pool.submit(work, item) for place, item in items.items()}
    values: dict[int, K] = {}
    errors: dict[int, ScenarioError] = {}
    for place, future in futures.items():
        try:
            values[place] = future.result()
        except ScenarioError as error:
            errors[place] = error
    return values, errors


def _zipped(assets: Mapping[int, Asset], names: Mapping[int, str]) -> dict[int, tuple[Asset, str]]:
    return {place: (asset, names[place]) for place, asset in assets.items()}


def _raise_worst(errors: Iterable[ScenarioError], count: int) -> None:
    ordered = sorted(errors, key=lambda error: not isinstance(error, ScenarioTransientError))
    if ordered:
        worst = ordered[0]
        if count > 1:
            worst.add_note(f"{len(ordered)} of {count} files could not be saved; the others are saved.")
        raise worst
