"""Reads a few bytes of a file, never more than are wanted."""

from __future__ import annotations

from typing import BinaryIO

MOST_ELEMENTS = 100_000
"""Boxes or chunks that are looked at in one file: more are no media file."""


def read_at(file: BinaryIO, place: int, count: int) -> bytes:
    """Return up to ``count`` bytes from a place, fewer where the file ends."""
    file.seek(place)
    return file.read(count)
