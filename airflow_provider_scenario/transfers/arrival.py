"""How much of one file has arrived, and whether it may be trusted. Knows replies and bytes, not the network."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.transfers.progress import Progress

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import FileStream

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True)
class Received:
    """What arrived.

    :param sha256: Digest in hexadecimal.
    :param size: Bytes.
    """

    sha256: str
    size: int


class StaleUrlError(ScenarioTransferError):
    """The CDN refuses the URL: it has ended, or its file has moved."""


class Arrival:
    """One file on its way into an empty file that is open for writing.

    Its digest is made in a thread of its own, while the next bytes come: a quarter quicker for a single file, a tenth
    slower for many at once. Call :meth:`close` at the end.

    :param asset: The asset it belongs to.
    :param file: Where the bytes go.
    :param progress: Who is told how far it is.
    """

    def __init__(self, asset: Asset, file: BinaryIO, progress: Progress) -> None:
        self._progress = progress
        self.position = self.furthest = 0
        self._asset, self._file = asset, file
        self._digest = hashlib.sha256()
        self._digesting: Future[None] | None = None
        self._digester = ThreadPoolExecutor(1, thread_name_prefix="scenario-digest")
        self._announced: int | None = None
        self._version: str | None = None

    def close(self) -> None:
        """End the thread."""
        self._digester.shutdown(cancel_futures=True)

    def begin(self, stream: FileStream) -> bool:
        """Judge a reply before its bytes are taken.

        :return: Whether its bytes are wanted: not if it only says that nothing is missing.
        :raises ScenarioTransferError: if they are not those that are missing.
        """
        if self.position and stream.status == 416 and total_of(stream) == self.position:
            self._announced = self.position
            return False
        version, refused = stream.headers.get("etag"), refusal_of(stream, self._asset.id)
        if refused is not None:
            if stream.status == 416:
                self.begin_anew()
            raise refused
        start, total = _start_of(stream), total_of(stream)
        changed = version is not None and self._version is not None and version != self._version
        if self.position and (start == 0 or changed):
            self.begin_anew()
        if start != self.position:
            self.begin_anew()
            raise ScenarioTransferError(f"Scenario's CDN sent another part of {self._asset.id} than was asked for.")
        self._announced, self._version = total, version
        if total is not None and self._asset.size is not None and total != self._asset.size:
            self.begin_anew()
            raise StaleUrlError(
                f"Scenario's CDN offers {total} bytes for {self._asset.id}, whose record says {self._asset.size}."
            )
        return True

    def add(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes.

        :param chunk: They must stay as they are until the next call of any method returns.
        """
        self._finish_digest()
        self._digesting = self._digester.submit(self._digest.update, chunk)
        self._file.write(chunk)
        self.position += len(chunk)
        self.furthest = max(self.furthest, self.position)
        self._progress.reach(self.position)

    def finish(self) -> Received:
        """Return what arrived, now that the CDN says it was all.

        :raises ScenarioTransferError: if it is not.
        """
        self._finish_digest()
        expected = self._announced if self._announced is not None else self._asset.size
        if self.position and expected in (None, self.position):
            return Received(self._digest.hexdigest(), self.position)
        arrived = self.position
        if expected is None or arrived > expected:
            self.begin_anew()
        raise ScenarioTransferError(f"{arrived} of {expected} bytes of {self._asset.id} have arrived.")

    def begin_anew(self) -> None:
        """Throw away what has arrived."""
        self._finish_digest()
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.position = 0
        self._announced = self._version = None

    def _finish_digest(self) -> None:
        if self._digesting is not None:
            self._digesting.result()
            self._digesting = None


def refusal_of(stream: FileStream, asset_id: str) -> ScenarioTransferError | None:
    """Return the error that a reply of the CDN stands for, ``None`` if it brings bytes."""
    if stream.status in (200, 206):
        return None
    message = f"Scenario's CDN answers HTTP {stream.status} for {asset_id}."
    return (StaleUrlError if 400 <= stream.status < 500 else ScenarioTransferError)(message)


def _start_of(stream: FileStream) -> int:
    """Return the first byte a reply brings, -1 if it doesn't say."""
    if stream.status != 206:
        return 0
    extent = _CONTENT_RANGE.match(stream.headers.get("content-range", ""))
    return int(extent[1]) if extent and extent[1] else -1


def total_of(stream: FileStream) -> int | None:
    """Return the size of the file that a reply is about, where it says it."""
    if stream.status in (206, 416):
        extent = _CONTENT_RANGE.match(stream.headers.get("content-range", ""))
        return int(extent[2]) if extent and extent[2] != "*" else None
    length = stream.headers.get("content-length", "")
    return int(length) if stream.status == 200 and length.isdigit() else None
