"""What a media file holds and how long it plays, by its bytes alone.

Its name says nothing: a text called ``clip.mp4`` is none. Of a container the tracks count, not the brand. Only what
stands in this file's tables is taken.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from airflow_provider_scenario.media import isobmff, matroska, read_at, riff, sound

HEAD = 1 << 16
"""First bytes of a file in which its signature is looked for."""


@dataclass(frozen=True)
class Media:
    """What a file holds, and how many seconds it plays: ``None`` for an image, and where the file leaves it open."""

    content_type: str
    duration: float | None = None

    @property
    def kind(self) -> str:
        """``video``, ``image`` or ``audio``."""
        return self.content_type.partition("/")[0]


_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"FLV\x01", "video/x-flv"),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR-WB\n", "audio/amr-wb"),
    (b"caff\0\x01\0\0", "audio/x-caf"),
)

_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF = {b"mif1", b"mif2", b"msf1", b"miaf"}

_WINDOWS_MEDIA = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_WINDOWS_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")

_LEAST_SOUND_BITS = 400
_LEAST_BITS = 8
"""Bits a second that any video has: also one of a still picture."""

_TRANSPORT_PACKETS = 5
"""Packets of a transport stream that must follow each other."""

_PASSED_OVER = (("<?", "?>"), ("<!--", "-->"))
"""What may stand before the root element of an XML document, beside its type."""

_DOCUMENT_TYPE = re.compile(r"<!DOCTYPE\s+svg\b[^>\[]*(?:\[[^\]]*\][^>\[]*)?>")
_SVG_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?svg[\s>/]")


def examine(file: BinaryIO, size: int) -> Media | None:
    """Return what a seekable file holds, ``None`` if it is neither video nor image nor audio."""
    head = read_at(file, 0, HEAD)
    try:
        return _plausible(_examine(file, size, head), size)
    except (struct.error, IndexError, ZeroDivisionError, OverflowError):
        return None  # cut or damaged within a header


def _examine(file: BinaryIO, size: int, head: bytes) -> Media | None:
    if isobmff.is_iso(head[:16]):
        return _of_boxes(file, size)
    if head.startswith(matroska.MAGIC):
        return _of_matroska(file, size)
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"FORM"):
        return _of_chunks(file, size, head)
    if head.startswith(b"OggS"):
        content_type = sound.ogg_kind(head)
        seconds = sound.ogg_duration(file, size) if content_type == "audio/ogg" else None
        return _media(content_type, seconds)
    return _of_sound(file, size, head) or _media(_by_signature(head))


def _plausible(media: Media | None, size: int) -> Media | None:
    """Return it without a length that its bytes can't bear out."""
    # FLAC may be silence of hardly any bytes: its length is judged by its frames.
    if media is None or media.duration is None or media.content_type == "audio/flac":
        return media
    least = _LEAST_SOUND_BITS if media.kind == "audio" else _LEAST_BITS
    return media if media.duration * least <= size * 8 else dataclasses.replace(media, duration=None)


def _media(content_type: str | None, duration: float | None = None) -> Media | None:
    return None if content_type is None else Media(content_type, duration)


def _of_boxes(file: BinaryIO, size: int) -> Media | None:
    names = isobmff.brands(file, size)
    shown = isobmff.tracks(file, size)
    handlers = {track.handler for track in shown}
    if b"vide" in handlers:
        is_quicktime = not names or names[0] == b"qt  "
        content_type = "video/quicktime" if is_quicktime else "video/mp4"
        return _media(content_type, isobmff.media_duration(file, size, shown))
    if b"soun" in handlers:
        return _media("audio/mp4", isobmff.media_duration(file, size, shown))
    if b"pict" in handlers or isobmff.is_picture(file, size):
        return _media(_picture_type(names))
    return None


def _picture_type(names: Iterable[bytes]) -> str | None:
    found = set(names)
    if found & _AVIF:
        return "image/avif"
    if found & _HEIC:
        return "image/heic"
    return "image/heif" if found & _HEIF else None


def _of_matroska(file: BinaryIO, size: int) -> Media | None:
    facts = matroska.read_facts(file, size)
    form = "webm" if facts.is_webm else "x-matroska"
    if 1 in facts.track_types:
        return _media(f"video/{form}", facts.duration)
    return _media(f"audio/{form}", facts.duration) if 2 in facts.track_types else None


def _of_chunks(file: BinaryIO, size: int, head: bytes) -> Media | None:
    form = head[8:12]
    if form == b"WAVE" and riff.has_wave_format(file, size):
        return _media("audio/wav", riff.wave_duration(file, size))
    if head[:4] == b"RIFF" and form == b"WEBP" and head[12:15] == b"VP8":
        return _media("image/webp")
    if head[:4] == b"RIFF" and form == b"AVI ":
        kinds = {header[:4] for header in riff.avi_streams(file, size)}
        return _media("video/x-msvideo", riff.avi_duration(file, size)) if b"vids" in kinds else None
    if form in (b"AIFF", b"AIFC") and any(chunk.name == b"COMM" for chunk in riff.chunks(file, 12, size, ">")):
        return _media("audio/aiff", riff.aiff_duration(file, size))
    return None


def _of_sound(file: BinaryIO, size: int, head: bytes) -> Media | None:
    start = sound.tag_end(file)
    if read_at(file, start, 4) == b"fLaC" and read_at(file, start + 5, 3) == b"\0\0\x22":
        return _media("audio/flac", sound.flac_duration(file, size, start))
    if not start and head[:1] != b"\xff":
        return None
    found = sound.find_frames(file, size, start)
    if found is None:
        return None
    place, first = found
    return _media(first.content_type, sound.frames_duration(file, size, place))


def _by_signature(head: bytes) -> str | None:
    if not _CONTROL.search(head):  # a text, such as one about GIF89a
        return "image/svg+xml" if _is_svg(head) else None
    for signature, content_type in _SIGNATURES:
        if head.startswith(signature):
            return content_type
    if head[:3] == b"\xff\xd8\xff" and head[3:4] >= b"\xc0":
        return "image/jpeg"
    if head[:2] == b"BM" and head[6:10] == bytes(4) and head[14:18] in _BITMAP_HEADERS:
        return "image/bmp"
    if head.startswith(_WINDOWS_MEDIA):
        return "video/x-ms-wmv" if _WINDOWS_VIDEO in head else "audio/x-ms-wma"
    if _is_transport_stream(head):
        return "video/mp2t"
    return "image/svg+xml" if _is_svg(head) else None


_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")
"""Bytes that no text has, and every media file but a drawing."""

_BITMAP_HEADERS = {length.to_bytes(4, "little") for length in (12, 40, 52, 56, 64, 108, 124)}


def _is_transport_stream(head: bytes) -> bool:
    """Look for the byte that each packet begins with: packets have 188 bytes, a camera's 4 more before them."""
    return any(
        all(head[first + length * number : first + length * number + 1] == b"G" for number in range(_TRANSPORT_PACKETS))
        and head[first + 1] & 0x80 == 0
        and head[first + 3] & 0x30 != 0
        for first, length in ((0, 188), (4, 192))
    )


def _is_svg(head: bytes) -> bool:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text, place = head.decode(encoding, errors="replace").removeprefix("\ufeff"), 0
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        end = next((end for start, end in _PASSED_OVER if text.startswith(start, place)), None)
        if end is not None:
            found = text.find(end, place)
            if found < 0:
                return False
            place = found + len(end)
        elif kind := _DOCUMENT_TYPE.match(text, place):
            place = kind.end()
        else:
            return _SVG_ROOT.match(text, place) is not None
