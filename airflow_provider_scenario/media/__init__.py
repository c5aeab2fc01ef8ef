"""What a file holds, how long it plays and whether it is whole, by its bytes alone. Pure but for reading them."""

from __future__ import annotations

from typing import BinaryIO

MOST_ELEMENTS = 100_000
"""Boxes or chunks that are looked at in one file: more are no media file."""

_BEYOND = 1 << 50
"""Where no file has a byte: a place that a file names wrongly, and that some storages can't even seek."""


def read_at(file: BinaryIO, place: int, count: int) -> bytes:
    """Return up to ``count`` bytes from a place, fewer where the file ends."""
    if not 0 <= place < _BEYOND:
        return b""
    file.seek(place)
    return file.read(max(0, count))
