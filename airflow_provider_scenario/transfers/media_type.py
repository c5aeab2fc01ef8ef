"""What a file holds, told by its first bytes, and where they are silent by its name. Pure."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass

HEAD = 512
"""First bytes of a file that :func:`media_type_of` needs."""

KINDS = ("video", "image", "audio")
"""What can be uploaded."""


@dataclass(frozen=True)
class MediaType:
    """What a file holds.

    :param kind: ``video``, ``image`` or ``audio``.
    :param content_type: Its MIME type.
    """

    kind: str
    content_type: str


_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (8, b"AIFF", "audio/aiff"),
    (8, b"AIFC", "audio/aiff"),
    (4, b"moov", "video/quicktime"),
    (4, b"mdat", "video/quicktime"),
    (4, b"wide", "video/quicktime"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
)

_BRANDS = {
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
}
"""Types of the ISO base media files that are not MP4, by their major brand."""

_NAMED = {".mkv": "video/x-matroska", ".webm": "video/webm", ".m4a": "audio/mp4", ".ogv": "video/ogg"}
_NAMED |= {".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".webp": "image/webp"}
_NAMED |= {".avif": "image/avif", ".heic": "image/heic", ".weba": "audio/webm"}
"""Endings that the standard library's table may lack."""


def media_type_of(name: str, head: bytes) -> MediaType | None:
    """Return what a file holds, or ``None`` if it is neither video nor image nor audio.

    :param name: Its name; the ending matters only where the bytes say nothing, or leave it open.
    :param head: Its first :data:`HEAD` bytes, or all there are.
    """
    content_type = _by_bytes(name, head) or _by_name(name)
    kind = (content_type or "").partition("/")[0]
    return MediaType(kind, content_type) if content_type and kind in KINDS else None


def _by_bytes(name: str, head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "audio/webm" if _by_name(name) == "audio/webm" else _matroska(head)
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head else "audio/ogg"
    for place, signature, content_type in _SIGNATURES:
        if head.startswith(signature, place):
            return content_type
    return "image/svg+xml" if b"<svg" in head.lower() else None


def _matroska(head: bytes) -> str:
    return "video/webm" if b"webm" in head[:64] else "video/x-matroska"


def _by_name(name: str) -> str | None:
    ending = "." + name.rpartition(".")[2].lower() if "." in name else ""
    return _NAMED.get(ending) or mimetypes.guess_type(f"file{ending}", strict=False)[0]
