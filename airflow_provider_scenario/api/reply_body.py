"""Reads the body of a reply, with bounds on its time and its size."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

LARGEST_REPLY = 32 * 2**20
"""Bytes of JSON, unpacked, beyond which a reply is not read: the largest known have less than 1 MiB."""

ACCEPTED_ENCODING = "gzip"
"""The one encoding that is asked for and unpacked."""

_PIECE = 64 * 2**10
_SMALL_PIECE = 512
"""For urllib3 before 2.2, which waits until a piece is whole."""


class UnreadableBodyError(Exception):
    """The body is no use, for the reason given."""


class SlowBodyError(Exception):
    """The body does not come to its end in time."""


def read_body(response: requests.Response, *, seconds: float, largest: int = LARGEST_REPLY) -> bytes:
    """Return the whole body, unpacked.

    :param response: A reply whose body has not been read.
    :param seconds: Seconds for the whole of the body, more than 0.
    :param largest: Bytes it may have, packed and unpacked.
    :raises SlowBodyError: if it takes longer.
    :raises UnreadableBodyError: if it is larger, or packed in a way that was not asked for.
    """
    until = time.monotonic() + seconds
    read, size = _reader(response)
    unpack = _unpacker(response.headers.get("Content-Encoding", ""), largest)
    content = bytearray()
    while piece := read(size, decode_content=False):
        content += unpack(piece, largest + 1 - len(content))
        if len(content) > largest:
            raise UnreadableBodyError(f"is larger than {largest // 2**20} MiB")
        if time.monotonic() > until:
            raise SlowBodyError(f"its reply did not end within {seconds:g} seconds")
    return bytes(content)


def _reader(response: requests.Response) -> tuple[Callable[..., bytes], int]:
    """Return what reads a piece, and how large a piece to ask for."""
    read1: Callable[..., bytes] | None = getattr(response.raw, "read1", None)
    return (read1, _PIECE) if read1 is not None else (response.raw.read, _SMALL_PIECE)


def _unpacker(encoding: str, largest: int) -> Callable[[bytes, int], bytes]:
    """Return what unpacks the next piece, to at most so many bytes."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return lambda piece, _most: piece
    if encoding not in (ACCEPTED_ENCODING, "x-gzip"):
        raise UnreadableBodyError("comes in an encoding that was not asked for")
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    packed = 0

    def unpack(piece: bytes, most: int) -> bytes:
        nonlocal packed
        packed += len(piece)
        if packed > largest:
            raise UnreadableBodyError(f"is larger than {largest // 2**20} MiB")
        try:
            return gzip.decompress(piece, most)
        except zlib.error:
            trouble = "is not the gzip that it says it is"
        raise UnreadableBodyError(trouble)

    return unpack
