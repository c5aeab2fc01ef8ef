"""Fetches one asset's file: streamed, counted, digested, resumed after a cut, with a new URL when the old one ends."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import BinaryIO

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.api.retry import Patience, wait_before_repeating
from airflow_provider_scenario.exceptions import ScenarioTransferError, ScenarioTransientError
from airflow_provider_scenario.transfers.arrival import Arrival, Received, StaleUrlError, refusal_of, total_of
from airflow_provider_scenario.transfers.asset_source import AssetSource
from airflow_provider_scenario.transfers.progress import Log, Progress

CHUNK = 1 << 20
"""Bytes asked of the connection at once."""

PATIENCE = Patience(attempts=6, first_wait=0.5, longest_wait=30.0)
"""How long to keep at a file that doesn't come further. A cut that brought new bytes starts the count anew."""

MOST_ATTEMPTS = 200
"""Connections made for one file at most, however much each of them brought."""


class Downloader:
    """Fetches files of assets.

    :param source: Where assets are read, and anew when a URL has ended.
    :param log: The task's logger.
    :param patience: How long to keep at a file that doesn't come further. Default :data:`PATIENCE`.
    """

    def __init__(self, source: AssetSource, log: Log, patience: Patience | None = None) -> None:
        self._source = source
        self._log = log
        self._patience = patience or PATIENCE

    def fetch(self, asset: Asset, file: BinaryIO) -> Received:
        """Write an asset's file.

        :param asset: The asset, with a fresh URL.
        :param file: An empty file, open for writing. Its content counts only if this returns.
        :return: What arrived: as many bytes as the CDN announced and Scenario's record says.
        :raises ScenarioTransferError: if the file did not arrive whole within the attempts.
        :raises OSError: if it can't be written.
        """
        with contextlib.closing(Arrival(asset, file, Progress(self._log, asset.id, asset.size))) as arrival:
            return self._fetch(asset, arrival)

    def _fetch(self, asset: Asset, arrival: Arrival) -> Received:
        fruitless = 0
        for _ in range(MOST_ATTEMPTS):
            furthest = arrival.furthest
            try:
                self._receive(asset, arrival)
                received = arrival.finish()
                self._confirm(asset, arrival)
            except ScenarioTransientError as error:
                trouble = error
            else:
                return received
            fruitless = 1 if arrival.furthest > furthest else fruitless + 1
            asset = self._after(trouble, asset, fruitless, arrival)
        raise _given_up(asset, arrival, f"the connection broke {MOST_ATTEMPTS} times")

    def announced_size(self, asset: Asset) -> int | None:
        """Return the size of the asset's file: Scenario's record, else what the CDN says, else ``None``."""
        if asset.size is not None:
            return asset.size
        try:
            with self._source.client.open_file(asset.url) as stream:
                return total_of(stream)
        except ScenarioTransientError:
            return None

    def _receive(self, asset: Asset, arrival: Arrival) -> None:
        with self._source.client.open_file(asset.url, start=arrival.position) as stream:
            if not arrival.begin(stream):
                return
            for chunk in stream.chunks(CHUNK):
                if self._source.stop.is_set():
                    raise _stopped(asset)
                arrival.add(chunk)

    def _confirm(self, asset: Asset, arrival: Arrival) -> None:
        """Ask the CDN again how long the file is, where its own word is the only one: a reply may have been short."""
        if asset.size is not None:
            return
        with self._source.client.open_file(asset.url, start=arrival.position) as stream:
            refused = refusal_of(stream, asset.id)
            if refused is not None and stream.status != 416:
                raise refused
            total = total_of(stream)
        if total not in (None, arrival.position):
            arrived = arrival.position
            arrival.begin_anew()
            raise ScenarioTransferError(f"Scenario's CDN sent {arrived} bytes of {asset.id} as all, but has {total}.")

    def _after(self, trouble: ScenarioTransientError, asset: Asset, fruitless: int, arrival: Arrival) -> Asset:
        """Wait after an attempt that failed, and return the asset for the next one."""
        wait = wait_before_repeating(trouble, attempt=fruitless, repeatable=True, patience=self._patience)
        if self._source.stop.is_set():
            raise _stopped(asset)
        if wait is None:
            raise _given_up(asset, arrival, str(trouble).rstrip("."))
        self._log.info("%s: %s Going on at byte %d in %.1f s.", asset.id, str(trouble), arrival.position, wait)
        self._source.stop.wait(wait)
        if isinstance(trouble, StaleUrlError):
            fresh = self._source.fresh(asset.id)
            return replace(asset, url=fresh.url, size=fresh.size)
        return asset


def _stopped(asset: Asset) -> ScenarioTransferError:
    return ScenarioTransferError(f"Fetching {asset.id} was stopped. Nothing half is left; the next try begins.")


def _given_up(asset: Asset, arrival: Arrival, trouble: str) -> ScenarioTransferError:
    return ScenarioTransferError(
        f"The file of asset {asset.id} did not arrive whole: {trouble}. {arrival.furthest} bytes came at best. Nothing "
        "half was kept, and nothing was lost at Scenario: the next try fetches it again, for free."
    )
