"""WAV, RF64, AVI and AIFF: chunks of a name, a length and a content."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.media import MOST_ELEMENTS, read_at

_UNCOMPRESSED = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)
"""Formats of a WAV file in which every second has as many bytes."""


@dataclass(frozen=True)
class Chunk:
    """One chunk: its four letters, where its content begins, and the bytes that it says it has."""

    name: bytes
    start: int
    length: int


def chunks(file: BinaryIO, start: int, end: int, order: str = "<") -> Iterator[Chunk]:
    """Yield the chunks between two places; the last may say that it is longer."""
    for _ in range(MOST_ELEMENTS):
        head = read_at(file, start, 8)
        if start + 8 > end or len(head) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", head)
        yield Chunk(name, start + 8, length)
        start += 8 + length + length % 2


def is_open_length(declared: int) -> bool:
    """Return whether a length is none: a program that writes into a pipe says 0, or nearly 2 or 4 GiB."""
    return declared == 0 or any(abs(top - declared) <= 1 << 20 for top in (1 << 31, 1 << 32, 1 << 63, 1 << 64))


def has_wave_format(file: BinaryIO, size: int) -> bool:
    """Return whether a WAV or RF64 file says in a few bytes, as it must, what sound it holds."""
    return any(chunk.name == b"fmt " and 14 <= chunk.length <= 4096 for chunk in chunks(file, 12, size))


def wave_duration(file: BinaryIO, size: int) -> float | None:
    """Return the seconds a WAV or RF64 file plays; never more than its bytes can bear out."""
    form, large, samples = b"", 0, 0
    for chunk in chunks(file, 12, size):
        if chunk.name == b"ds64":
            large = int.from_bytes(read_at(file, chunk.start + 8, 8), "little")
        elif chunk.name == b"fact":
            samples = int.from_bytes(read_at(file, chunk.start, 4), "little")
        elif chunk.name == b"fmt ":
            form = read_at(file, chunk.start, 16)
        elif chunk.name == b"data" and len(form) == 16:
            declared = large if large and chunk.length == 0xFFFFFFFF else chunk.length
            there = size - chunk.start
            return _sound_duration(form, there if is_open_length(declared) else min(declared, there), samples)
    return None


def _sound_duration(form: bytes, length: int, samples: int) -> float | None:
    code, channels, rate, _, block, bits = struct.unpack("<HHIIHH", form)
    if code in _UNCOMPRESSED:
        is_sound = rate and channels and block == channels * (bits + 7 >> 3)
        return length // block / rate or None if is_sound else None
    # Less than a bit for a sample is no sound.
    return samples / rate if rate and 0 < samples <= 8 * length else None


def aiff_duration(file: BinaryIO, size: int) -> float | None:
    """Return the seconds an AIFF file plays."""
    frames, rate, block = 0, 0.0, 0
    for chunk in chunks(file, 12, size, ">"):
        if chunk.name == b"COMM":
            content = read_at(file, chunk.start, 18)
            if len(content) < 18:
                return None
            channels, frames, bits, exponent, mantissa = struct.unpack(">HIHHQ", content)
            block = channels * (bits + 7 >> 3)
            rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63) if exponent < 0x4040 else 0.0
    return frames / rate if rate and 0 < frames * block <= size else None


def avi_duration(file: BinaryIO, size: int) -> float | None:
    """Return the seconds the longest stream of an AVI file plays."""
    longest = 0.0
    for stream in avi_streams(file, size):
        scale, rate, _, length = struct.unpack("<IIII", stream[20:36])
        if not scale or not rate:
            return None
        longest = max(longest, length * scale / rate)
    # A file of more than 1 GiB goes on after its first list, whose counts are those of that list only.
    goes_on = 8 + int.from_bytes(read_at(file, 4, 4), "little") + 12 < size
    return longest if longest and not goes_on else None


def avi_streams(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the header and the kind of each stream of an AVI file, such as ``vids`` and ``auds``."""
    for header in _lists(file, 12, size, b"hdrl"):
        for stream in _lists(file, header.start + 4, header.start + header.length, b"strl"):
            for chunk in chunks(file, stream.start + 4, stream.start + stream.length):
                content = read_at(file, chunk.start, 48)
                if chunk.name == b"strh" and len(content) == 48:
                    yield content


def _lists(file: BinaryIO, start: int, end: int, name: bytes) -> Iterator[Chunk]:
    for chunk in chunks(file, start, end):
        if chunk.name == b"LIST" and read_at(file, chunk.start, 4) == name:
            yield chunk
