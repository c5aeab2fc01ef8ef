"""Whether a reply can be the file that an asset's record describes: by its Content-Type and its first bytes. Pure."""

from __future__ import annotations

import re

from airflow_provider_scenario.api.mime_types import UNKNOWN_EXTENSION, UNKNOWN_TYPE, canonical_type, extension_of

HEAD = 1024
"""First bytes of a file that :func:`bytes_fit` needs; fewer only where the file has no more."""

_ISO = (
    "video/mp4",
    "video/x-m4v",
    "video/quicktime",
    "video/3gpp",
    "video/3gpp2",
    "audio/mp4",
    "audio/3gpp",
    "audio/3gpp2",
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
    """Return whether a reply's Content-Type may be that of the recorded file.

    :param recorded: The asset's MIME type.
    :param offered: The reply's ``Content-Type``; empty where it has none, which says nothing.
    :param kind: The asset's kind; counts only where no MIME type is recorded.
    :param is_transformed: Whether the URL leads to a file that is converted on its way: then only the kind counts.
    """
    wanted, came = canonical_type(recorded), canonical_type(offered)
    if came in ("", UNKNOWN_TYPE, wanted):
        return True
    if wanted in ("", UNKNOWN_TYPE):
        major = came.partition("/")[0]
        return major == kind if kind in ("video", "image", "audio") else came != "text/html"
    if any(wanted in family and came in family for family in _FAMILIES):
        return True
    if is_transformed and came in _SIGNATURES:
        return wanted.partition("/")[0] == came.partition("/")[0]
    # Servers that don't know a model's format say text, or give it a name of their own.
    major = came.partition("/")[0]
    return wanted.startswith("model/") and (came in ("text/plain", "application/zip") or major == "model")


def bytes_fit(mime_type: str, head: bytes) -> bool:
    """Return whether a file of a type can begin with these bytes.

    :param mime_type: Its MIME type.
    :param head: Its first :data:`HEAD` bytes, or all there are.
    """
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
