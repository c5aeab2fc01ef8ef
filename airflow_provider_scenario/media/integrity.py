"""Whether a file is the right one and whole: by its type and first bytes, and by what its container says.

A file ends too early if its container says that it is longer than it is. Only what is certain counts there: a length
of 0 or near the largest number is what a program writes into a pipe before it knows better, and says nothing.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.api.mime_types import UNKNOWN_EXTENSION, UNKNOWN_TYPE, canonical_type, extension_of
from airflow_provider_scenario.media import MOST_ELEMENTS, isobmff, matroska, read_at, riff

HEAD = 1024
"""First bytes of a file that :func:`bytes_fit` needs; fewer only where the file has no more."""

_ISO = tuple(f"video/{kind}" for kind in ("mp4", "x-m4v", "quicktime", "3gpp", "3gpp2")) + tuple(
    f"audio/{kind}" for kind in ("mp4", "3gpp", "3gpp2")
)
_ISO_IMAGES = ("image/avif", "image/heic", "image/heif")
_MATROSKA = ("video/webm", "video/x-matroska", "audio/webm", "audio/x-matroska")
_OGG = ("audio/ogg", "audio/opus", "video/ogg")
_PLAIN = (
    "text/plain",
    "text/markdown",
    "text/csv",
    "text/vtt",
    "application/json",
    "application/yaml",
    "application/x-subrip",
    "model/gltf+json",
    "model/obj",
    "model/mtl",
)
_XML = ("application/xml", "image/svg+xml", "model/vnd.collada+xml")
_FAMILIES = (_ISO, _ISO_IMAGES, _MATROSKA, _OGG, _PLAIN, _XML)
"""Types that servers take for one another, since their files look alike."""

_ISO_BOXES = rb"(?:ftyp|styp|moov|moof|mdat|wide|free|skip|pnot|sidx|uuid|emsg|prft|meta|pdin)"

_SIGNATURES: dict[str, bytes] = {
    **dict.fromkeys(_ISO, rb".{4}" + _ISO_BOXES),
    **dict.fromkeys(_ISO_IMAGES, rb".{4}ftyp"),
    **dict.fromkeys(_MATROSKA, rb"\x1a\x45\xdf\xa3"),
    **dict.fromkeys(_OGG, rb"OggS"),
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF.{4}WEBP",
    "image/bmp": rb"BM",
    "image/tiff": rb"II[*+]\0|MM\0[*+]",
    "image/jxl": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "image/vnd.adobe.photoshop": rb"8BPS",
    "image/vnd.radiance": rb"#\?",
    "image/x-exr": rb"\x76\x2f\x31\x01",
    "image/x-icon": rb"\0\0[\x01\x02]\0",
    "image/ktx2": rb"\xabKTX 20\xbb",
    "video/x-msvideo": rb"RIFF.{4}AVI ",
    "video/mpeg": rb"\0\0\x01[\xb0-\xbf\xe0-\xef]",
    "video/mp2t": rb"G|.{4}G",
    "video/x-flv": rb"FLV",
    "video/x-ms-wmv": rb"\x30\x26\xb2\x75",
    "audio/x-ms-wma": rb"\x30\x26\xb2\x75",
    "audio/amr": rb"#!AMR",
    "audio/amr-wb": rb"#!AMR",
    "audio/x-caf": rb"caff",
    "audio/mpeg": rb"\0*(?:ID3|TAG|\xff[\xe0-\xff])",
    "audio/aac": rb"\0*(?:ID3|ADIF|\xff[\xf0-\xff])",
    "audio/wav": rb"(?:RIFF|RF64|RIFX|BW64).{4}WAVE|ID3",
    "audio/flac": rb"fLaC|ID3",
    "audio/aiff": rb"FORM.{4}AIF[FC]",
    "audio/midi": rb"MThd|RIFF.{4}RMID",
    "audio/basic": rb"\.snd",
    "model/gltf-binary": rb"glTF",
    "model/ply": rb"ply\s",
    "model/vnd.usdz+zip": rb"PK",
    "model/3mf": rb"PK",
    "application/zip": rb"PK",
    "application/gzip": rb"\x1f\x8b",
    "application/pdf": rb".{0,1000}%PDF",
    "application/json": rb"(?:\xef\xbb\xbf)?\s*[\[{\"0-9tfn-]",
    "model/gltf+json": rb"(?:\xef\xbb\xbf)?\s*\{",
    **dict.fromkeys(_XML, rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\0?\s*<"),
}
"""How the files of a type begin. A type that is not here may begin in any way, but not as a web page."""

_GZIP = b"\x1f\x8b\x08"
"""How a body begins that was packed on its way, whatever its headers say. No file of a known type begins so."""

_PAGE = re.compile(
    r"\ufeff?(?:\s|<!--(?:(?!-->).)*-->|<\?xml[^>]*>)*"
    r"<(?:!doctype\s+html|html|head|body|script|style|title|meta|center|h[1-6]|div|p|iframe|noscript|error)\b",
    re.DOTALL | re.IGNORECASE,
)
"""How a web page begins, or what a storage says instead of a file.

A comment has but one way to end here: with more, a head full of comments would be tried for ever.
"""


def type_fits(recorded: str, offered: str, kind: str, *, is_transformed: bool = False) -> bool:
    """Return whether a reply's Content-Type may be that of the recorded file."""
    wanted, came = canonical_type(recorded), canonical_type(offered)
    # An absent Content-Type says nothing.
    if came in ("", UNKNOWN_TYPE, wanted):
        return True
    if wanted in ("", UNKNOWN_TYPE):
        major = came.partition("/")[0]
        return major == kind if kind in ("video", "image", "audio") else came != "text/html"
    if any(wanted in family and came in family for family in _FAMILIES):
        return True
    # The file is converted on its way: then only the kind counts.
    if is_transformed and came in _SIGNATURES:
        return wanted.partition("/")[0] == came.partition("/")[0]
    # Servers that don't know a model's format say text, or give it a name of their own.
    major = came.partition("/")[0]
    return wanted.startswith("model/") and (came in ("text/plain", "application/zip") or major == "model")


def bytes_fit(mime_type: str, head: bytes) -> bool:
    """Return whether a file of a type can begin with these bytes: its first :data:`HEAD`, or all there are."""
    wanted = canonical_type(mime_type)
    if wanted == "text/html":
        return True
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if _PAGE.match(head.decode(encoding, "replace")) and wanted not in ("text/plain", "text/markdown"):
        return False
    if head.startswith(_GZIP) and wanted != "application/gzip" and extension_of(wanted) != UNKNOWN_EXTENSION:
        return False
    signature = _SIGNATURES.get(wanted)
    return signature is None or re.match(signature, head, re.DOTALL) is not None


_RIFF_TYPES = (b"WAVE", b"AVI ", b"WEBP")
_SLACK = 8
"""Bytes by which sloppy writers overstate a RIFF file: the size of its own header, or a missing pad."""

_BLOCK = 1 << 20
_LARGEST_GIF = 64 << 20


@dataclass(frozen=True)
class Truncation:
    """What is missing of a file.

    :param expected: Bytes that the file should have; ``None`` if only its end is missed.
    :param at_least: Whether it should have even more.
    """

    expected: int | None = None
    at_least: bool = False


def find_truncation(file: BinaryIO, size: int) -> Truncation | None:
    """Return what is missing of a seekable media file, ``None`` if nothing is, as far as its bytes show."""
    head = read_at(file, 0, 16)
    try:
        if isobmff.is_iso(head):
            return _of_iso(file, size)
        if head.startswith(matroska.MAGIC):
            end = matroska.expected_end(file, size)
            return Truncation(end) if end > size else None
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] in _RIFF_TYPES:
            return _of_riff(file, size)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return _beyond(8 + int.from_bytes(head[4:8], "big"), size)
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return _of_png(file, size)
        if head.startswith(b"\xff\xd8\xff"):
            return _of_jpeg(file, size)
        if head[:6] in (b"GIF87a", b"GIF89a"):
            return _of_gif(file, size)
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _of_tiff(file, size, "<" if head[:2] == b"II" else ">")
        if head[:2] == b"BM" and size > 54:
            return _of_bitmap(file, size)
    except struct.error:
        return Truncation()  # a field of the container itself is cut
    return None


def _beyond(end: int, size: int) -> Truncation | None:
    return Truncation(end) if end > size + _SLACK else None


def _of_iso(file: BinaryIO, size: int) -> Truncation | None:
    boxes = list(isobmff.boxes(file, 0, size))
    has_index = any(box.name in (b"moov", b"meta") for box in boxes)
    last = boxes[-1] if boxes else None
    if last is not None and last.end > size:
        return Truncation(last.end, at_least=not has_index)
    if not has_index or (last is not None and last.name == b"moof"):
        return Truncation()
    end = max((isobmff.samples_end(file, box) for box in boxes if box.name == b"moov"), default=0)
    return Truncation(end) if end > size else None


def _of_riff(file: BinaryIO, size: int) -> Truncation | None:
    head = read_at(file, 0, 36)
    (declared,) = struct.unpack("<I", head[4:8])
    if head[:4] in (b"RF64", b"BW64") and head[12:16] == b"ds64":
        declared, data = struct.unpack("<QQ", head[20:36])
        return None if riff.is_open_length(data) else _beyond(8 + declared, size)
    return None if riff.is_open_length(declared) else _beyond(8 + declared, size)


def _of_png(file: BinaryIO, size: int) -> Truncation | None:
    if read_at(file, max(0, size - 12), 12)[4:8] == b"IEND":
        return None
    place = 8
    for _ in range(MOST_ELEMENTS):
        head = read_at(file, place, 8)
        if len(head) < 8:
            return Truncation()
        length, name = struct.unpack(">I4s", head)
        place += 12 + length
        if place > size:
            return Truncation(place, at_least=name != b"IEND")
        if name == b"IEND":
            return None
    return None


def _of_jpeg(file: BinaryIO, size: int) -> Truncation | None:
    """Look for the end of the image: after the image's data has begun, those two bytes mean nothing else."""
    place = 2
    for _ in range(MOST_ELEMENTS):
        head = read_at(file, place, 4)
        if len(head) < 4:
            return Truncation()
        if head[0] != 0xFF:
            return None
        if head[1] == 0xFF:
            place += 1
            continue
        place += 2 + int.from_bytes(head[2:4], "big")
        if head[1] == 0xDA:
            return None if _has(file, b"\xff\xd9", place, size) else Truncation()
    return None


def _has(file: BinaryIO, mark: bytes, start: int, size: int) -> bool:
    if mark in read_at(file, max(start, size - 1024), 1024):
        return True
    return any(mark in read_at(file, place, _BLOCK + 1) for place in range(start, size, _BLOCK))


def _of_gif(file: BinaryIO, size: int) -> Truncation | None:
    """Walk the blocks: a file that ends within one is cut."""
    if read_at(file, size - 1, 1) == b";":
        return None
    if size < 13:
        return Truncation()
    if size > _LARGEST_GIF:
        return None
    content = read_at(file, 0, size)
    place = 13 + _table(content[10])
    while place < size:
        kind = content[place]
        if kind == 0x3B:
            return None
        if kind == 0x2C:
            if place + 10 > size:
                return Truncation()
            place += 11 + _table(content[place + 9])
        elif kind == 0x21:
            place += 2
        else:
            return None  # what follows is no GIF: not for us to judge
        while place < size and content[place]:
            place += 1 + content[place]
        if place >= size:
            return Truncation()
        place += 1
    return Truncation() if place > size else None


def _of_tiff(file: BinaryIO, size: int, order: str) -> Truncation | None:
    """Look where the pieces of the first picture end."""
    (first,) = struct.unpack(f"{order}I", read_at(file, 4, 4))
    if first >= size:
        return Truncation(first, at_least=True)
    (count,) = struct.unpack(f"{order}H", read_at(file, first, 2))
    tables: dict[int, tuple[int, ...]] = {}
    for place in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack(f"{order}HHI", read_at(file, place, 8))
        if tag in _PIECES and kind in (3, 4) and tag not in tables:
            form = f"{order}{min(length, _MOST_PIECES)}{'H' if kind == 3 else 'I'}"
            width = struct.calcsize(form)
            if width > 4:
                (place,) = struct.unpack(f"{order}I", read_at(file, place + 8, 4))
                place -= 8
            tables[tag] = struct.unpack(form, read_at(file, place + 8, width))
    ends = [
        start + length
        for starts, lengths in ((273, 279), (324, 325))
        for start, length in zip(tables.get(starts, ()), tables.get(lengths, ()), strict=False)
    ]
    return _beyond(max(ends, default=0), size)


_PIECES = (273, 279, 324, 325)
"""Tags of TIFF: where strips and tiles begin, and how long they are."""

_MOST_PIECES = 1 << 20


def _of_bitmap(file: BinaryIO, size: int) -> Truncation | None:
    start, header, width, height = struct.unpack("<IIii", read_at(file, 10, 16))
    bits, packing = struct.unpack("<HI", read_at(file, 28, 6))
    if header < 40 or width <= 0 or packing not in (0, 3):
        return None  # packed: how long it is shows only when it is unpacked
    return _beyond(start + (width * bits + 31) // 32 * 4 * abs(height), size)


def _table(flags: int) -> int:
    """Return the bytes of a color table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
