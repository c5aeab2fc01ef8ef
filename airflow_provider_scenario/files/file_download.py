"""Judges what the CDN sends for one asset's file, reply by reply and byte by byte. It sends nothing.

A reply counts only if its status, type, encoding, length and first bytes fit the asset's record.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.files.transfer_log import Progress
from airflow_provider_scenario.media.integrity import HEAD, bytes_fit, find_truncation, type_fits

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import FileStream

LARGE = 64 << 20
"""Bytes from which a file is digested in a thread of its own, while the next bytes come: a fifth quicker for one large
file, but slower for many small ones at once. One chunk ahead is best: a longer queue and larger reads were slower."""

LARGEST_UNANNOUNCED = 64 << 30
"""Bytes taken of a file whose size neither Scenario nor the CDN gives."""

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")
_LEAST_HEAD = 16
"""Bytes from which a file's beginning can be judged."""


class StaleUrlError(ScenarioTransferError):
    """What the URL leads to is not the file: the URL has ended, or something answers in the CDN's place."""


@dataclass(frozen=True)
class Received:
    """What arrived: its digest in hexadecimal, and its size in bytes."""

    sha256: str
    size: int


class FileDownload:
    """One file on its way into an empty file, open for writing and reading. Call :meth:`close` at the end."""

    def __init__(self, asset: Asset, file: BinaryIO, progress: Progress) -> None:
        self.position = self.furthest = 0
        self._asset, self._file, self._progress = asset, file, progress
        self._type = asset.mime_type
        self._digest = hashlib.sha256()
        self._digester: ThreadPoolExecutor | None = None
        self._digesting: Future[None] | None = None
        if asset.size is None or asset.size >= LARGE:
            self._digester = ThreadPoolExecutor(1, thread_name_prefix="scenario-digest")
        self._head = b""
        self._total: int | None = None
        self._end: int | None = None
        self._versions: dict[str, str] = {}

    def begin(self, stream: FileStream) -> bool:
        """Judge a reply, and return whether its bytes are wanted: not if it only says that nothing is missing."""
        is_all = self._asset.size in (None, self.position)
        if self.position and is_all and stream.status == 416 and total_of(stream) == self.position:
            self._total = self.position
            return False
        refused = refusal_of(stream, self._asset)
        if refused is not None:
            if stream.status == 416:
                self.begin_anew()
            raise refused
        start, end, total = _extent_of(stream)
        versions = {name: stream.headers[name] for name in ("etag", "last-modified") if name in stream.headers}
        has_changed = any(versions.get(name, value) != value for name, value in self._versions.items())
        has_changed |= None not in (total, self._total) and total != self._total
        if self.position and (start == 0 or has_changed):
            self.begin_anew()
        if start != self.position:
            self.begin_anew()
            raise ScenarioTransferError(f"Scenario's CDN sent another part of {self._asset.id} than was asked for.")
        if total is not None and self._asset.size is not None and total != self._asset.size:
            self.begin_anew()
            raise StaleUrlError(
                f"Scenario's CDN offers {total} bytes for {self._asset.id}, whose record says {self._asset.size}."
            )
        self._total, self._end = total, end
        self._versions |= versions
        self._type = _type_to_check(self._asset, stream)
        return True

    def add(self, chunk: bytes) -> None:
        """Take the next bytes; ``ScenarioTransferError`` if they are of another file, or too many."""
        position = self.position + len(chunk)
        limits = (self._asset.size, self._total, self._end)
        if position > min((limit for limit in limits if limit is not None), default=LARGEST_UNANNOUNCED):
            self.begin_anew()
            raise ScenarioTransferError(f"Scenario's CDN sent more bytes of {self._asset.id} than it has.")
        if len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
            if len(self._head) == HEAD:
                self._check_head()
        self._finish_digest()
        if self._digester is None:
            self._digest.update(chunk)
        else:
            self._digesting = self._digester.submit(self._digest.update, chunk)
        self._file.write(chunk)
        self.position = position
        self.furthest = max(self.furthest, position)
        self._progress.reach(position)

    def finish(self) -> Received:
        """Return what arrived, now that the CDN says it was all; ``ScenarioTransferError`` if it is not."""
        if self.position:
            self._check_head()
        expected = self._total if self._total is not None else self._asset.size
        if self.position and expected in (None, self.position):
            self._finish_digest()
            return Received(self._digest.hexdigest(), self.position)
        arrived = self.position
        if expected is None or arrived > expected:
            self.begin_anew()
        raise ScenarioTransferError(f"{arrived} of {expected} bytes of {self._asset.id} have arrived.")

    def check_end(self) -> None:
        """Look for a missing end by the file's own bytes, where nobody has said how long it is."""
        if find_truncation(self._file, self.position) is not None:
            arrived = self.position
            self.begin_anew()
            raise ScenarioTransferError(
                f"Scenario's CDN sent {arrived} bytes of {self._asset.id}, whose end is missing."
            )

    def keep_what_fits(self) -> None:
        """Throw away what a broken reply brought, unless its first bytes show that it was the file."""
        is_whole_head = len(self._head) == HEAD
        if self.position and not is_whole_head:
            can_be_judged = len(self._head) >= _LEAST_HEAD
            if not can_be_judged or not bytes_fit(self._type, self._head):
                self.begin_anew()

    def begin_anew(self) -> None:
        """Throw away what has arrived."""
        self._finish_digest()
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self._head = b""
        self.position = 0
        self._total = self._end = None
        self._versions = {}

    def close(self) -> None:
        """End the thread."""
        if self._digester is not None:
            self._digester.shutdown(cancel_futures=True)

    def _finish_digest(self) -> None:
        if self._digesting is not None:
            self._digesting.result()
            self._digesting = None

    def _check_head(self) -> None:
        if not bytes_fit(self._type, self._head):
            self.begin_anew()
            raise StaleUrlError(
                f"What Scenario's CDN sent for {self._asset.id} does not begin as {self._asset.mime_type} does: a "
                "proxy or a page answers in its place."
            )


def refusal_of(stream: FileStream, asset: Asset) -> ScenarioTransferError | None:
    """Return the error that a reply of the CDN stands for, ``None`` if it brings bytes of the asset's file."""
    if stream.status not in (200, 206):
        message = f"Scenario's CDN answers HTTP {stream.status} for {asset.id}."
        return (StaleUrlError if 400 <= stream.status < 500 else ScenarioTransferError)(message)
    for header, plain in (("content-encoding", ("identity",)), ("transfer-encoding", ("identity", "chunked"))):
        encoding = stream.headers.get(header, "").strip().lower()
        if encoding and encoding not in plain:
            return ScenarioTransferError(
                f"Scenario's CDN sent {asset.id} encoded as {encoding[:50]}, which was not asked for: a proxy may."
            )
    offered = stream.headers.get("content-type", "")
    if not type_fits(asset.mime_type, offered, asset.kind, is_transformed=is_transformed(asset.url)):
        return StaleUrlError(
            f"Scenario's CDN answers with {offered[:50]} for {asset.id}, which is {asset.mime_type}: a proxy or a page "
            "answers in its place."
        )
    return None


def total_of(stream: FileStream) -> int | None:
    """Return the size of the file that a reply is about, where it says it."""
    if stream.status in (206, 416):
        extent = _CONTENT_RANGE.fullmatch(stream.headers.get("content-range", "").strip())
        return int(extent[3]) if extent and extent[3] != "*" else None
    length = stream.headers.get("content-length", "")
    return int(length) if stream.status == 200 and re.fullmatch(r"\d{1,18}", length) else None


def _extent_of(stream: FileStream) -> tuple[int, int | None, int | None]:
    """Return the first byte a reply brings (-1 if it makes no sense), the byte after its last, and the file's size."""
    total = total_of(stream)
    if stream.status != 206:
        return 0, total, total
    extent = _CONTENT_RANGE.fullmatch(stream.headers.get("content-range", "").strip())
    if extent is None or extent[1] is None:
        return -1, None, total
    first, end = int(extent[1]), int(extent[2]) + 1
    length = stream.headers.get("content-length", "")
    is_odd = end <= first or (total is not None and end > total) or (length != "" and length != str(end - first))
    return (-1 if is_odd else first), end, total


def is_transformed(url: str) -> bool:
    """Return whether a URL leads to a file that Scenario transforms on its way: its record shows another size."""
    return "/assets-transform/" in url.partition("?")[0]


def _type_to_check(asset: Asset, stream: FileStream) -> str:
    """Return the type that the first bytes must be of."""
    offered = stream.headers.get("content-type", "")
    is_another = is_transformed(asset.url) and not type_fits(asset.mime_type, offered, asset.kind)
    return offered if is_another else asset.mime_type
