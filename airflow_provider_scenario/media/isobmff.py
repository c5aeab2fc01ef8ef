"""MP4, MOV, M4A, HEIC, AVIF: the boxes of the ISO base media file format (ISO/IEC 14496-12).

Every length in a box is checked against what holds it, so that no file can make a reader read or loop without bound.
"""

from __future__ import annotations

import itertools
import operator
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.media import MOST_ELEMENTS, read_at

_TOP_LEVEL = frozenset(
    b"ftyp moov mdat moof meta free skip wide pnot uuid mfra sidx ssix styp emsg prft pdin udta idat imda".split()
)
"""What may stand at a file's top level. Anything else after the index is not ours: a tag, or padding."""

_FIRST = (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot")
_LARGEST_TABLE = 32 << 20
"""Bytes of a table of chunks that is read."""

_MOST_EDITS = 10_000


@dataclass(frozen=True)
class Box:
    """One box: its four letters, where its content begins, and where it says that it ends."""

    name: bytes
    start: int
    end: int


@dataclass(frozen=True)
class Track:
    """One track of a movie.

    :param handler: What it holds: ``vide``, ``soun``, ``pict``, ...
    :param is_enabled: Whether players show it: a chapter's picture is not.
    :param duration: Seconds it plays, ``None`` if its boxes leave that open or contradict each other.
    """

    handler: bytes
    is_enabled: bool
    duration: float | None


def is_iso(head: bytes) -> bool:
    """Return whether a file's first 16 bytes are those of such a file, and no text that looks like one."""
    return head[4:8] in _FIRST and any(not 0x20 <= byte <= 0x7E for byte in head[:4])


def brands(file: BinaryIO, size: int) -> tuple[bytes, ...]:
    """Return a file's brands, the major one first."""
    first = next((box for box in boxes(file, 0, size) if box.name == b"ftyp"), None)
    if first is None:
        return ()
    content = read_at(file, first.start, min(first.end - first.start, 4096))
    return (content[:4], *(content[place : place + 4] for place in range(8, len(content) - 3, 4)))


def tracks(file: BinaryIO, size: int) -> list[Track]:
    """Return the tracks that players show; all tracks if they show none."""
    found: list[Track] = []
    for movie in _movies(file, size):
        (scale, _) = _times(file, next(find(file, movie, b"mvhd"), None))
        found.extend(_track(file, box, scale) for box in find(file, movie, b"trak"))
    return [one for one in found if one.is_enabled] or found


def is_picture(file: BinaryIO, size: int) -> bool:
    """Return whether a file's own index is that of a still picture (ISO/IEC 23008-12)."""
    for meta in boxes(file, 0, size):
        if meta.name == b"meta" and meta.end <= size:
            inner = Box(b"meta", meta.start + 4, meta.end)
            return any(read_at(file, box.start + 8, 4) == b"pict" for box in find(file, inner, b"hdlr"))
    return False


def media_duration(file: BinaryIO, size: int, shown: list[Track]) -> float | None:
    """Return the seconds a movie plays, ``None`` where its boxes leave that open or contradict each other."""
    movie = next(_movies(file, size), None)
    if movie is None:
        return None
    if any(find(file, movie, b"mvex")):
        return _fragments_duration(file, size, movie)
    scale, declared = _times(file, next(find(file, movie, b"mvhd"), None))
    told = [track.duration for track in shown]
    if not told or not scale or any(duration is None for duration in told):
        return None
    longest = max(duration for duration in told if duration is not None)
    seconds = declared / scale if declared else longest
    return seconds if seconds > 0 and _agree(seconds, longest) else None


def _movies(file: BinaryIO, size: int) -> Iterator[Box]:
    return (box for box in boxes(file, 0, size) if box.name == b"moov" and box.end <= size)


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= max(0.1, 0.02 * other)


def _times(file: BinaryIO, header: Box | None) -> tuple[int, int]:
    """Return the time scale and the duration of a header box; 0 for a duration that it leaves open."""
    if header is None:
        return 0, 0
    is_long = read_at(file, header.start, 1) == b"\x01"
    form = ">QQIQ" if is_long else ">IIII"
    _, _, scale, duration = struct.unpack(form, read_at(file, header.start + 4, struct.calcsize(form)))
    return scale, duration if duration < (1 << (64 if is_long else 32)) - 1 else 0


def _track(file: BinaryIO, box: Box, movie_scale: int) -> Track:
    header = next(find(file, box, b"tkhd"), None)
    handler = next(find(file, box, b"mdia", b"hdlr"), None)
    is_enabled = header is not None and bool(int.from_bytes(read_at(file, header.start, 4), "big") & 1)
    name = read_at(file, handler.start + 8, 4) if handler else b""
    scale, declared = _times(file, next(find(file, box, b"mdia", b"mdhd"), None))
    table = next(find(file, box, b"mdia", b"minf", b"stbl", b"stts"), None)
    if not scale or table is None:
        return Track(name, is_enabled, None)
    runs = _numbers(file, table, "I", 2)
    seconds = sum(map(operator.mul, runs[::2], runs[1::2])) / scale
    if declared and not _agree(declared / scale, seconds):
        return Track(name, is_enabled, None)
    edits = _edited(file, next(find(file, box, b"edts", b"elst"), None))
    if edits and movie_scale:
        seconds = edits / movie_scale
    return Track(name, is_enabled, seconds)


def _edited(file: BinaryIO, edits: Box | None) -> int:
    """Return how long the parts are that an edit list shows, 0 if there is none."""
    if edits is None:
        return 0
    head = read_at(file, edits.start, 8)
    width, form = (20, ">Q") if head[:1] == b"\x01" else (12, ">I")
    count = min(int.from_bytes(head[4:8], "big"), (edits.end - edits.start - 8) // width, _MOST_EDITS)
    content = read_at(file, edits.start + 8, count * width)
    return sum(struct.unpack_from(form, content, place)[0] for place in range(0, len(content) - width + 1, width))


def _fragments_duration(file: BinaryIO, size: int, movie: Box) -> float | None:
    """Add up the fragments of a movie (8.8), each track from its first sample to its last."""
    scales, usual = {}, {}
    for box in find(file, movie, b"trak"):
        header = next(find(file, box, b"tkhd"), None)
        if header is not None:
            place = header.start + (20 if read_at(file, header.start, 1) == b"\x01" else 12)
            scales[read_at(file, place, 4)] = _times(file, next(find(file, box, b"mdia", b"mdhd"), None))[0]
    for box in find(file, movie, b"mvex", b"trex"):
        fields = read_at(file, box.start + 4, 20)
        usual[fields[:4]] = int.from_bytes(fields[8:12], "big")
    begun: dict[bytes, int] = {}
    ended: dict[bytes, int] = {}
    for fragment in boxes(file, 0, size):
        for part in find(file, fragment, b"traf") if fragment.name == b"moof" else ():
            track, base, length = _fragment(file, part, usual)
            if length is None:
                return None
            start = ended.get(track, 0) if base is None else base
            begun.setdefault(track, start)
            ended[track] = start + length
    seconds = [(ended[track] - begun[track]) / scales[track] for track in ended if scales.get(track)]
    return max(seconds, default=0.0) or None


def _fragment(file: BinaryIO, part: Box, usual: dict[bytes, int]) -> tuple[bytes, int | None, int | None]:
    """Return a fragment's track, the time at which it begins, and how long it is."""
    track, each, base, length = b"", 0, None, 0
    for box in boxes(file, part.start, part.end):
        flags = int.from_bytes(read_at(file, box.start + 1, 3), "big")
        if box.name == b"tfhd":
            track = read_at(file, box.start + 4, 4)
            place = box.start + 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
            each = int.from_bytes(read_at(file, place, 4), "big") if flags & 8 else usual.get(track, 0)
        elif box.name == b"tfdt":
            width = 8 if read_at(file, box.start, 1) == b"\x01" else 4
            base = int.from_bytes(read_at(file, box.start + 4, width), "big")
        elif box.name == b"trun":
            count = int.from_bytes(read_at(file, box.start + 4, 4), "big")
            fields = sum(bool(flags & flag) for flag in (0x100, 0x200, 0x400, 0x800))
            skip = 4 + (4 if flags & 1 else 0) + (4 if flags & 4 else 0)
            if fields * count * 4 > box.end - box.start:
                return track, base, None
            if flags & 0x100:
                content = read_at(file, box.start + 4 + skip, min(4 * fields * count, _LARGEST_TABLE))
                length += sum(
                    int.from_bytes(content[place : place + 4], "big") for place in range(0, len(content), 4 * fields)
                )
            else:
                length += count * each
    return track, base, length


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes from a place; only the last may end after ``end``, where what holds them ends."""
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
    """Return where the last sample ends that a movie's tables name, 0 for none; ``struct.error`` for a cut table."""
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
        offsets = _numbers(file, places, "Q" if wide else "I")
        if offsets:
            chunk = max(range(len(offsets)), key=offsets.__getitem__)
            start: int = offsets[chunk]
            return start + _chunk_size(file, chunk + 1, _numbers(file, runs, "I", 3), sizes)
    return 0


def _chunk_size(file: BinaryIO, chunk: int, runs: array[int], sizes: Box) -> int:
    """Return the bytes of a chunk, counted from 1, by the samples that are in it."""
    before, samples = 0, 0
    for first, each, following in zip(runs[::3], runs[1::3], itertools.chain(runs[3::3], (chunk + 1,)), strict=False):
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
    return sum(number for (number,) in struct.iter_unpack(">I", content[: len(content) // 4 * 4]))


def _numbers(file: BinaryIO, box: Box, kind: str, each: int = 1) -> array[int]:
    """Return the numbers of a table that says how many entries it has, as small as they are in the file."""
    width = 8 if kind == "Q" else 4
    (count,) = struct.unpack(">I", read_at(file, box.start + 4, 4))
    room = min(box.end - box.start - 8, _LARGEST_TABLE) // width
    count = min(count * each, max(0, room))
    content = read_at(file, box.start + 8, count * width)
    numbers = array(kind, content[: len(content) // width * width])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
