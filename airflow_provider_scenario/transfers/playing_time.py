"""How long a file plays, read from its head, where that is cheap: MP4, MOV and M4A, and WAV."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_MOST_BOXES = 1000
"""Boxes or chunks that are passed over in search of one: more are no sound file."""


def playing_time(file: BinaryIO) -> float | None:
    """Return the seconds that a file plays, ``None`` where its head does not tell.

    :param file: The file, open at its beginning; it must be seekable.
    """
    head = file.read(12)
    try:
        if head[4:8] == b"ftyp":
            return _of_boxes(file)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            return _of_chunks(file)
    except (struct.error, ZeroDivisionError):
        pass  # Scenario judges what can't be read here.
    return None


def _of_boxes(file: BinaryIO) -> float | None:
    """Read the movie header box of the ISO base media file format (ISO/IEC 14496-12, 8.2.2)."""
    movie = next((extent for name, extent in _boxes(file, 0, None) if name == b"moov"), None)
    if movie is None:
        return None
    header = next((extent for name, extent in _boxes(file, *movie) if name == b"mvhd"), None)
    if header is None:
        return None
    file.seek(header[0])
    is_long = file.read(4)[0:1] == b"\x01"
    _, _, scale, duration = struct.unpack(">QQIQ" if is_long else ">IIII", file.read(28 if is_long else 16))
    # A file that is written in fragments tells 0, one of unknown length all ones.
    return duration / scale if 0 < duration < (1 << (64 if is_long else 32)) - 1 else None


def _boxes(file: BinaryIO, start: int, end: int | None) -> Iterator[tuple[bytes, tuple[int, int | None]]]:
    """Yield the name and the extent of the content of each box."""
    for _ in range(_MOST_BOXES):
        if end is not None and start >= end:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack(">I4s", head[:8])
        first = start + 8
        if size == 1:
            (size,), first = struct.unpack(">Q", head[8:16]), start + 16
        last = start + size if size else end
        yield name, (first, last)
        if last is None or last <= start:
            return
        start = last


def _of_chunks(file: BinaryIO) -> float | None:
    """Read the format and data chunks of a WAVE file."""
    rate = None
    for _ in range(_MOST_BOXES):
        head = file.read(8)
        if len(head) < 8:
            return None
        name, size = struct.unpack("<4sI", head)
        if name == b"fmt ":
            content = file.read(size + size % 2)
            (rate,) = struct.unpack("<I", content[8:12])
        elif name == b"data":
            return size / rate if rate and 0 < size < (1 << 32) - 1 else None
        else:
            file.seek(size + size % 2, 1)
    return None
