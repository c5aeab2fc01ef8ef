"""How far a transfer is, in the task's log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

INTERVAL = 5.0
"""Seconds between two lines about one file at least."""


class Progress:
    """Logs how far one file is, now and then; ``total`` is its bytes, or ``None`` where nobody said."""

    def __init__(self, log: Logger, label: str, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._label, self._total, self._clock = log, label, total, clock
        self._began = self._told = clock()
        self._position = self._moved = 0

    def reach(self, position: int) -> None:
        """Note that the transfer stands at byte ``position``; less than before if it began anew."""
        self._moved += max(0, position - self._position)
        self._position = position
        now = self._clock()
        if now - self._told >= INTERVAL:
            self._told = now
            percent = f"{100 * position / self._total:.0f} % of {megabytes(self._total)}" if self._total else ""
            self._log.info(
                "%s: %s, %s", self._label, percent or megabytes(position), speed(self._moved, now - self._began)
            )


def megabytes(size: int) -> str:
    """Return a size in megabytes for a person, in kilobytes if it is small."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def speed(size: int, seconds: float) -> str:
    """Return how fast so many bytes went, for a person."""
    return f"{size / 1e6 / max(seconds, 1e-3):.1f} MB/s"
