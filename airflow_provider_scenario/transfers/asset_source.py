"""A Scenario asset that is to be fetched: there at last, with a URL that is good now."""

from __future__ import annotations

import dataclasses
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioTransferError

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import ScenarioClient

FIRST_LOOK = 1.0
"""Seconds until a pending asset is looked at again; they double up to :data:`LONGEST_LOOK`."""

LONGEST_LOOK = 10.0


class AssetSource:
    """Reads assets, and waits for those that Scenario still makes.

    :param client: Who asks.
    :param original: Whether to fetch the file before Scenario optimised it.
    :param timeout: Seconds to wait for a pending asset, 0 or more.
    :param stop: Set to end every wait at once.
    """

    def __init__(self, client: ScenarioClient, *, original: bool, timeout: float, stop: threading.Event) -> None:
        self.client = client
        self.original = original
        self.timeout = timeout
        self.stop = stop

    def fresh(self, asset_id: str) -> Asset:
        """Return the asset with a fresh URL, once its file can be had; its size only where it is that of the file.

        :raises ScenarioFileError: if Scenario says that the asset is in error.
        :raises ScenarioTransferError: if it is still pending after the time-out.
        :raises ScenarioError: what else stops the call, such as an unknown id.
        """
        deadline = time.monotonic() + self.timeout
        pause = FIRST_LOOK
        while True:
            asset = self.client.send(calls.get_asset(asset_id, original=self.original))
            if asset.status is AssetStatus.ERROR:
                raise ScenarioFileError(
                    f"Scenario has no file for asset {asset_id}: its status is error. Other files of the job are not "
                    "concerned. Run the job again to get it anew, or ask Scenario with this id."
                )
            if asset.status is AssetStatus.SUCCESS and asset.url:
                return _with_size_of_file(asset)
            left = deadline - time.monotonic()
            if self.stop.wait(min(pause, max(0.0, left))):
                raise ScenarioTransferError(f"The wait for asset {asset_id} was stopped. The next try goes on with it.")
            if left <= 0:
                raise ScenarioTransferError(
                    f"Asset {asset_id} is still pending at Scenario after {self.timeout:.0f} s. It is not lost: the "
                    "next try looks again."
                )
            pause = min(LONGEST_LOOK, pause * 2)


def _with_size_of_file(asset: Asset) -> Asset:
    """Forget the recorded size where the URL leads to a file that Scenario transforms on its way."""
    transformed = "/assets-transform/" in urllib.parse.urlsplit(asset.url).path
    return dataclasses.replace(asset, size=None) if transformed else asset
