"""What the tasks of one DAG run know of each other's uploads, so that the same bytes are sent once.

Each task instance keeps one note that the others can read: what it has sent, and the size of what it is about to send.
Whoever wants to send claims the size, waits a moment until every claim can be seen, and lets those go first who send
already or claimed before; then it looks whether the bytes have become an asset meanwhile. A size is told without
reading the file, so nobody reads a file twice unless another of the same size is under way or was sent.

It is no lock. Two instances send the same bytes all the same if one's note takes longer than :data:`SETTLING` to be
seen, or if their clocks differ by more than that and they decide at the same moment. That makes a second asset, which
costs nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_provider_scenario.exceptions import ScenarioTransferError
from airflow_provider_scenario.files.transfer_log import Log
from airflow_provider_scenario.transfers.upload import SentFile

SETTLING = 1.0
"""Seconds from a claim until the claims of others that were made at the same time can be read."""

LOOK = 2.0
"""Seconds between two looks at what others do."""


@dataclass(frozen=True)
class Note:
    """What one task instance tells.

    :param teller: Which instance.
    :param sent: Digest to ``bytes`` and ``asset_id`` of what it has sent.
    :param claims: Size to ``at`` (seconds of the epoch) and ``sending`` of what it is about to send.
    """

    teller: str
    sent: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    claims: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Shelf(Protocol):
    """Where the notes of a DAG run lie."""

    teller: str
    """Which instance this is."""

    def put(self, note: Note) -> None:
        """Replace this instance's note."""

    def others(self) -> Sequence[Note]:
        """Return the notes of all other instances."""

    def is_running(self, teller: str) -> bool:
        """Return whether an instance is still at work: a note stays when its teller dies."""


class RunMemory:
    """One task instance's part in it.

    :param shelf: Where the notes lie; ``None`` if nobody else in the run uploads.
    :param log: The task's logger.
    :param stop: Set to end every wait at once.
    :param clock: Returns seconds of the epoch.
    """

    def __init__(
        self, shelf: Shelf | None, log: Log, stop: threading.Event, clock: Callable[[], float] = time.time
    ) -> None:
        self._shelf = shelf
        self._log = log
        self._stop = stop
        self._clock = clock
        self._sent: dict[str, Mapping[str, Any]] = {}
        self._claims: dict[str, Mapping[str, Any]] = {}

    @contextlib.contextmanager
    def turn(self, size: int, timeout: float) -> Iterator[None]:
        """Wait until no other instance is sending a file of this size, and keep others waiting meanwhile.

        :param size: The file's bytes.
        :param timeout: Seconds to wait for others at most: then go on, at the risk of sending the bytes twice.
        :raises ScenarioTransferError: if the task was ended meanwhile.
        """
        if self._shelf is None:
            yield
            return
        try:
            self._claim(size, sending=False)
            self._stop.wait(SETTLING)
            self._await_others(self._shelf, size, self._clock() + timeout)
            if self._stop.is_set():
                raise ScenarioTransferError("The upload was stopped before it began. The next try begins it.")
            self._claim(size, sending=True)
            yield
        finally:
            self._claims.pop(str(size), None)
            self._put()

    def recall(self, size: int, digest: Callable[[], str]) -> SentFile | None:
        """Return what another instance has sent, if it is the same bytes.

        :param size: The file's bytes.
        :param digest: Returns the file's digest; called only if something of this size was sent.
        """
        sent = [note.sent for note in self._shelf.others()] if self._shelf is not None else []
        known = {sha256: told for one in sent for sha256, told in one.items() if told.get("bytes") == size}
        if not known:
            return None
        sha256 = digest()
        return SentFile(sha256, asset_id=known[sha256]["asset_id"]) if sha256 in known else None

    def tell(self, sent: SentFile, size: int) -> None:
        """Tell the others what became of a file."""
        told = {"bytes": size, "asset_id": sent.asset_id}
        if self._sent.get(sent.sha256) != told:
            self._sent[sent.sha256] = told
            self._put()

    def _claim(self, size: int, *, sending: bool) -> None:
        at = self._claims.get(str(size), {}).get("at", self._clock())
        self._claims[str(size)] = {"at": at, "sending": sending}
        self._put()

    def _await_others(self, shelf: Shelf, size: int, deadline: float) -> None:
        ours = (self._claims[str(size)]["at"], shelf.teller)
        told = False
        while ahead := [note.teller for note in shelf.others() if _goes_first(note, size, ours)]:
            if not any(map(shelf.is_running, ahead)) or self._clock() >= deadline:
                return
            if not told:
                self._log.info("Waiting for %s, which uploads a file of the same size", ", ".join(ahead))
                told = True
            if self._stop.wait(LOOK):
                return

    def _put(self) -> None:
        if self._shelf is not None:
            self._shelf.put(Note(self._shelf.teller, dict(self._sent), dict(self._claims)))


def _goes_first(note: Note, size: int, ours: tuple[float, str]) -> bool:
    claim = note.claims.get(str(size))
    return claim is not None and (bool(claim.get("sending")) or (claim["at"], note.teller) < ours)
