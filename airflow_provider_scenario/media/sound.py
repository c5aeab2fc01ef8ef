"""MP3, AAC, FLAC and Ogg: what their frames and pages say, bounded by the bytes that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.media import read_at

_BLOCK = 1 << 20
_SEARCHED = 1 << 16
"""Bytes in which a first frame or a last page is searched for."""

_MOST_TAGS = 100

_MOST_FRAMES = 2_000_000
"""Frames that are added up, of half a day: counting more would take longer than a task's start may."""

_RATES = (44100, 48000, 32000)
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_BIT_RATES = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits a second by version (3 is MPEG-1) and layer (1 is layer III), as a frame's header numbers them."""


@dataclass(frozen=True)
class Frame:
    """One frame of MPEG audio (``audio/mpeg`` or ``audio/aac``), its bytes, and how long it plays."""

    content_type: str
    length: int
    seconds: float


def read_frame(head: bytes) -> Frame | None:
    """Read the header of a frame from its first 6 bytes or more, ``None`` if these bytes are none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if head[1] & 0xF6 == 0xF0:
        index, length = head[2] >> 2 & 15, (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if index >= len(_AAC_RATES) or length < 7:
            return None
        return Frame("audio/aac", length, 1024 / _AAC_RATES[index])
    bits, index = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or bits in (0, 15) or index == 3:
        return None
    rate = _RATES[index] >> (3 - version if version else 2)
    bit_rate = 1000 * _BIT_RATES[3 if version == 3 else 2, layer][bits - 1]
    padding = head[2] >> 1 & 1
    if layer == 3:
        return Frame("audio/mpeg", (12 * bit_rate // rate + padding) * 4, 384 / rate)
    samples = 576 if layer == 1 and version != 3 else 1152
    return Frame("audio/mpeg", samples // 8 * bit_rate // rate + padding, samples / rate)


def tag_end(file: BinaryIO) -> int:
    """Return where the ID3 tags at a file's beginning end, 0 if it has none."""
    place = 0
    for _ in range(_MOST_TAGS):
        head = read_at(file, place, 10)
        if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or max(head[6:10]) > 0x7F:
            return place
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        place += 10 + length + (10 if head[5] & 0x10 else 0)
    return place


def find_frames(file: BinaryIO, size: int, start: int) -> tuple[int, Frame] | None:
    """Return where the frames of a sound file begin, and the first of them; its tags end at ``start``."""
    head = read_at(file, start, _SEARCHED)
    start += len(head) - len(head.lstrip(b"\0")) if start else 0
    first = read_frame(read_at(file, start, 8))
    after = start
    # One frame proves nothing: others must follow it, unless the file ends.
    for _ in range(4):
        frame = read_frame(read_at(file, after, 8))
        if first is None or frame is None or frame.content_type != first.content_type:
            return None
        after += frame.length
        if after > size:
            return None
        if after + 8 > size:
            break
    return (start, first) if first is not None else None


def frames_duration(file: BinaryIO, size: int, start: int) -> float | None:
    """Add up the seconds of all frames from ``start``: a header's word for their number is no proof."""
    seconds, content, base, is_first = 0.0, b"", start, True
    place = start
    for _ in range(_MOST_FRAMES):
        if place + 8 > size:
            return seconds or None
        if place + 8 > base + len(content):
            base, content = place, read_at(file, place, _BLOCK)
        frame = read_frame(content[place - base : place - base + 8])
        if frame is None:
            rest = content[place - base : place - base + 8]
            # What may follow the last frame: tags. Anything else within is a gap whose length nobody knows.
            return (
                seconds or None if rest[:3] == b"TAG" or rest in (b"APETAGEX", b"LYRICSBE") or not any(rest) else None
            )
        if not (is_first and _is_info(content[place - base : place - base + 64])):
            seconds += frame.seconds
        is_first = False
        place += frame.length
    return None


def _is_info(frame: bytes) -> bool:
    """Return whether a first frame is silent: it holds only what an encoder says of the others."""
    return b"Xing" in frame or b"Info" in frame or b"VBRI" in frame


def flac_duration(file: BinaryIO, size: int, start: int) -> float | None:
    """Return the seconds a FLAC file plays (RFC 9639), whose four letters stand at ``start``."""
    content = read_at(file, start + 8, 18)
    if len(content) < 18 or read_at(file, start + 4, 1)[0] & 0x7F:
        return None
    largest_block, least_frame = int.from_bytes(content[2:4], "big"), int.from_bytes(content[4:7], "big")
    packed = int.from_bytes(content[10:18], "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    if not rate or not samples or not largest_block:
        return None
    blocks = -(-samples // largest_block)
    return samples / rate if blocks * max(least_frame, 8) <= size else None


def ogg_kind(head: bytes) -> str | None:
    """Return the type of an Ogg file by the codecs its first pages name, ``None`` if it is none that is known."""
    if head[:5] != b"OggS\0":
        return None
    if b"\x80theora" in head or b"BBCD\0" in head or b"\x4fVP80" in head:
        return "video/ogg"
    names = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   ")
    return "audio/ogg" if any(name in head for name in names) else None


def ogg_duration(file: BinaryIO, size: int) -> float | None:
    """Return the seconds an Ogg file of one sound plays (RFC 3533)."""
    head = read_at(file, 0, 512)
    serial, packet = head[14:18], head[27 + (head[26] if len(head) > 26 else 0) :]
    if packet.startswith(b"OpusHead"):
        rate, skipped = 48_000, int.from_bytes(packet[10:12], "little")
    elif packet.startswith(b"\x01vorbis"):
        rate, skipped = int.from_bytes(packet[12:16], "little"), 0
    elif packet.startswith(b"Speex   "):
        rate, skipped = int.from_bytes(packet[36:40], "little"), 0
    else:
        return None
    first = read_at(file, 0, _SEARCHED)
    last = read_at(file, max(0, size - 2 * _SEARCHED), 2 * _SEARCHED)
    begins = next((one for one in _granule_positions(first, serial) if one), 0)
    ends = max(_granule_positions(last, serial), default=0)
    if not rate or begins > 10 * rate or len(set(_serials(first))) > 1:
        return None  # cut out of a longer stream, or several streams: where it begins is not known
    seconds = (ends - skipped) / rate
    return seconds if seconds > 0 else None


def _pages(content: bytes) -> list[int]:
    places, place = [], content.find(b"OggS\0")
    while place >= 0:
        places.append(place)
        place = content.find(b"OggS\0", place + 4)
    return places


def _granule_positions(content: bytes, serial: bytes) -> list[int]:
    """Return the positions that the pages of a stream give, in samples."""
    positions = []
    for place in _pages(content):
        position = int.from_bytes(content[place + 6 : place + 14], "little", signed=True)
        if content[place + 14 : place + 18] == serial and position >= 0:
            positions.append(position)
    return positions


def _serials(content: bytes) -> list[bytes]:
    return [content[place + 14 : place + 18] for place in _pages(content) if place + 18 <= len(content)]
