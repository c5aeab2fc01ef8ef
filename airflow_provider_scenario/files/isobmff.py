"""MP4, MOV, M4A, HEIC, AVIF: the boxes of the ISO base media file format (ISO/IEC 14496-12).

Every length in a box is checked against what holds it, so that no file can make a reader read or loop without bound.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.files.reading import MOST_ELEMENTS, read_at

_TOP_LEVEL = frozenset(
    {
        b"ftyp",
        b"moov",
        b"mdat",
        b"moof",
        b"meta",
        b"free",
        b"skip",
        b"wide",
        b"pnot",
        b"uuid",
        b"mfra",
        b"sidx",
        b"ssix",
    }
    | {b"ssix", b"styp", b"emsg", b"prft", b"pdin", b"udta", b"idat", b"imda"}
)
"""What may stand at a file's top level. Anything else after the index is not ours: a tag, or padding."""

_FIRST = (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot")
_LARGEST_TABLE = 32 << 20
"""Bytes of a table of chunks that is read."""


@dataclass(frozen=True)
class Box:
    """One box.

    :param name: Its four letters.
    :param start: Where its content begins.
    :param end: Where it says that it ends.
    """

    name: bytes
    start: int
    end: int


def is_iso(head: bytes) -> bool:
    """Return whether a file's first 16 bytes are those of such a file."""
    return head[4:8] in _FIRST


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes from a place; only the last may end after ``end``.

    :param file: The file.
    :param start: Where the first box begins.
    :param end: Where what holds them ends: the file's size, or a box's end.
    """
    is_top = start == 0
    for _ in range(MOST_ELEMENTS):
        head = read_at(file, start, 16)
        if start + 8 > end or len(head) < 8:
            return
        length, name = struct.unpack(">I4s", head[:8])
        first = start + 8
        if length == 1:
            if len(head) < 16:
                return
            (length,), first = struct.unpack(">Q", head[8:16]), start + 16
        last = start + length if length else end
        if last < first or (is_top and name not in _TOP_LEVEL and last > end):
            return
        yield Box(name, first, last)
        start = last


def find(file: BinaryIO, box: Box, *names: bytes) -> Iterator[Box]:
    """Yield the boxes within a box that lie on a path of names, such as ``b"trak", b"mdia"``."""
    for inner in boxes(file, box.start, box.end):
        if inner.name == names[0] and inner.end <= box.end:
            if len(names) == 1:
                yield inner
            else:
                yield from find(file, inner, *names[1:])


def samples_end(file: BinaryIO, movie: Box) -> int:
    """Return where the last sample ends that a movie's tables name, 0 if they name none.

    :raises struct.error: if a table is cut.
    """
    return max((_track_end(file, table) for table in find(file, movie, b"trak", b"mdia", b"minf")), default=0)


def _track_end(file: BinaryIO, media: Box) -> int:
    for reference in find(file, media, b"dinf", b"dref"):
        first = read_at(file, reference.start + 8, 12)
        if len(first) == 12 and not first[11] & 1:
            return 0  # its samples are in another file
    for table in find(file, media, b"stbl"):
        tables = {box.name: box for box in boxes(file, table.start, table.end) if box.end <= table.end}
        wide = b"co64" in tables
        places = tables.get(b"co64" if wide else b"stco")
        runs, sizes = tables.get(b"stsc"), tables.get(b"stsz")
        if places is None or runs is None or sizes is None:
            return 0
        offsets = _numbers(file, places, 4, "Q" if wide else "I")
        if offsets:
            chunk = max(range(len(offsets)), key=offsets.__getitem__)
            start: int = offsets[chunk]
            return start + _chunk_size(file, chunk + 1, _numbers(file, runs, 4, "I", 3), sizes)
    return 0


def _chunk_size(file: BinaryIO, chunk: int, runs: tuple[int, ...], sizes: Box) -> int:
    """Return the bytes of a chunk, counted from 1, by the samples that are in it."""
    before, samples = 0, 0
    for first, each, following in zip(runs[::3], runs[1::3], (*runs[3::3], chunk + 1), strict=False):
        if first > chunk:
            break
        samples = each
        before += each * (min(following, chunk) - first)
    head = read_at(file, sizes.start + 4, 8)
    same, count = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
    samples = max(0, min(samples, count - before))
    if same:
        return same * samples
    content = read_at(file, sizes.start + 12 + 4 * before, min(4 * samples, _LARGEST_TABLE))
    return sum(struct.unpack(f">{len(content) // 4}I", content[: len(content) // 4 * 4]))


def _numbers(file: BinaryIO, box: Box, skip: int, kind: str, each: int = 1) -> tuple[int, ...]:
    """Return the numbers of a table that says how many entries it has."""
    width = 8 if kind == "Q" else 4
    (count,) = struct.unpack(">I", read_at(file, box.start + skip, 4))
    room = min(box.end - box.start - skip - 4, _LARGEST_TABLE) // width
    count = min(count * each, max(0, room))
    content = read_at(file, box.start + skip + 4, count * width)
    numbers: tuple[int, ...] = struct.unpack(
        f">{len(content) // width}{kind}", content[: len(content) // width * width]
    )
    return numbers
