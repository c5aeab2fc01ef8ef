"""WebM and Matroska: elements of EBML (RFC 8794, RFC 9559)."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.media import MOST_ELEMENTS, read_at

MAGIC = b"\x1a\x45\xdf\xa3"
_HEAD, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_INFO, _TRACKS, _SCALE, _DURATION = 0x1549A966, 0x1654AE6B, 0x2AD7B1, 0x4489
_TRACK_TYPE, _TIMESTAMP = 0x83, 0xE7
_IN_SEGMENT = {0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC, 0xBF}


@dataclass(frozen=True)
class Element:
    """One element: its id with the marker bits, where its content begins, and where it says it ends, if it does."""

    id: int
    start: int
    end: int | None


def elements(file: BinaryIO, start: int, end: int) -> Iterator[Element]:
    """Yield the elements from a place; only the last may end after ``end``, or be open."""
    for _ in range(MOST_ELEMENTS):
        if start >= end:
            return
        element = _element(read_at(file, start, 12), start)
        if element is None:
            return
        yield element
        if element.end is None:
            return
        start = element.end


def _element(head: bytes, place: int) -> Element | None:
    """Read an element's id and length."""
    if not head or not head[0] or head[0] < 0x10:
        return None
    id_width = 9 - head[0].bit_length()
    if len(head) <= id_width or not head[id_width]:
        return None
    width = 9 - head[id_width].bit_length()
    field = head[id_width : id_width + width]
    if len(field) < width:
        return None
    length = int.from_bytes(field, "big") & ((1 << 7 * width) - 1)
    start = place + id_width + width
    is_open = length == (1 << 7 * width) - 1
    return Element(int.from_bytes(head[:id_width], "big"), start, None if is_open else start + length)


def segment(file: BinaryIO, size: int) -> Element | None:
    """Return the element that holds the tracks and the frames."""
    return next((one for one in elements(file, 0, size) if one.id == _SEGMENT), None)


def expected_end(file: BinaryIO, size: int) -> int:
    """Return where the last element ends that says so."""
    found = segment(file, size)
    if found is None:
        return size
    if found.end is not None:
        return found.end
    inner = [one for one in elements(file, found.start, size) if one.id in _IN_SEGMENT]
    return max((one.end or 0 for one in inner), default=size)


@dataclass(frozen=True)
class Facts:
    """What such a file says of itself.

    :param track_types: The types of its tracks: 1 is video, 2 is audio.
    :param duration: Seconds it plays; ``None`` if it does not say so, or what its clusters can't bear out.
    """

    is_webm: bool
    track_types: frozenset[int]
    duration: float | None


def read_facts(file: BinaryIO, size: int) -> Facts:
    """Return what a file says of itself."""
    head = next(elements(file, 0, size), None)
    is_webm = head is not None and b"webm" in read_at(file, head.start, min(64, (head.end or 64) - head.start))
    body = segment(file, size)
    types: set[int] = set()
    scale, declared, last = 1_000_000, 0.0, 0
    for one in elements(file, body.start, size) if body else ():
        end = min(one.end if one.end is not None else size, size)
        if one.id == _INFO:
            for field in elements(file, one.start, end):
                if field.id == _SCALE:
                    scale = _number(file, field) or scale
                elif field.id == _DURATION:
                    declared = _real(file, field)
        elif one.id == _TRACKS:
            for entry in elements(file, one.start, end):
                types |= {_number(file, field) for field in _inside(file, entry, end) if field.id == _TRACK_TYPE}
        elif one.id == _CLUSTER:
            last = next((_number(file, f) for f in elements(file, one.start, end) if f.id == _TIMESTAMP), last)
    # A frame lies within 32,767 ticks of its cluster, so a duration far beyond the last cluster is not true.
    is_true = 0 < declared <= last + 65_536
    return Facts(is_webm, frozenset(types), declared * scale / 1e9 if is_true else None)


def _inside(file: BinaryIO, one: Element, end: int) -> Iterator[Element]:
    return elements(file, one.start, min(one.end if one.end is not None else end, end))


def _number(file: BinaryIO, one: Element) -> int:
    return int.from_bytes(_content(file, one), "big")


def _real(file: BinaryIO, one: Element) -> float:
    content = _content(file, one)
    value: float = struct.unpack(">d" if len(content) == 8 else ">f", content)[0] if len(content) in (4, 8) else 0.0
    return value if math.isfinite(value) else 0.0


def _content(file: BinaryIO, one: Element) -> bytes:
    return read_at(file, one.start, min(8, max(0, (one.end or one.start) - one.start)))
