"""WebM and Matroska: elements of EBML (RFC 8794, RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.files.reading import MOST_ELEMENTS, read_at

MAGIC = b"\x1a\x45\xdf\xa3"
_HEAD, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_IN_SEGMENT = {0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC, 0xBF}


@dataclass(frozen=True)
class Element:
    """One element.

    :param id: Its id, with the marker bits.
    :param start: Where its content begins.
    :param end: Where it says that it ends; ``None`` where it leaves that open.
    """

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
    """Return where the last element ends that says so.

    :param file: The file.
    :param size: Its bytes.
    """
    found = segment(file, size)
    if found is None:
        return size
    if found.end is not None:
        return found.end
    inner = [one for one in elements(file, found.start, size) if one.id in _IN_SEGMENT]
    return max((one.end or 0 for one in inner), default=size)
