"""MIME types and file endings: one table of our own, so that every machine gives the same ending. Pure."""

from __future__ import annotations

UNKNOWN_EXTENSION = ".bin"
UNKNOWN_TYPE = "application/octet-stream"

_TABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    # The type, its ending, and other spellings of the type.
    "image/png": (".png", ("image/x-png", "image/apng", "image/vnd.mozilla.apng")),
    "image/jpeg": (".jpg", ("image/jpg", "image/x-jpg", "image/x-jpeg", "image/pjpeg", "image/jfif")),
    "image/gif": (".gif", ()),
    "image/webp": (".webp", ("image/x-webp",)),
    "image/avif": (".avif", ("image/avif-sequence",)),
    "image/heic": (".heic", ("image/heic-sequence",)),
    "image/heif": (".heif", ("image/heif-sequence",)),
    "image/bmp": (".bmp", ("image/x-bmp", "image/x-ms-bmp")),
    "image/tiff": (".tiff", ("image/tif", "image/x-tiff")),
    "image/svg+xml": (".svg", ("image/svg",)),
    "image/jxl": (".jxl", ()),
    "image/vnd.adobe.photoshop": (".psd", ("image/x-psd", "application/x-photoshop", "image/psd")),
    "image/vnd.radiance": (".hdr", ("image/x-hdr", "image/hdr")),
    "image/x-exr": (".exr", ("image/exr", "image/aces")),
    "image/x-icon": (".ico", ("image/vnd.microsoft.icon", "image/ico")),
    "image/x-tga": (".tga", ("image/tga", "image/x-targa")),
    "image/ktx2": (".ktx2", ()),
    "image/jp2": (".jp2", ("image/jpeg2000", "image/x-jp2")),
    "image/x-adobe-dng": (".dng", ("image/dng",)),
    "video/mp4": (".mp4", ("video/mpeg4", "video/x-mp4", "application/mp4")),
    "video/x-m4v": (".m4v", ("video/m4v",)),
    "video/quicktime": (".mov", ("video/mov", "video/x-quicktime")),
    "video/webm": (".webm", ()),
    "video/x-matroska": (".mkv", ("video/matroska", "video/mkv", "video/x-mkv")),
    "video/x-msvideo": (".avi", ("video/avi", "video/msvideo", "video/vnd.avi")),
    "video/mpeg": (".mpg", ("video/mpg", "video/x-mpeg", "video/mp2p")),
    "video/mp2t": (".ts", ("video/mpegts", "video/mpeg2-ts", "video/vnd.dlna.mpeg-tts")),
    "video/ogg": (".ogv", ("video/x-theora+ogg",)),
    "video/3gpp": (".3gp", ("video/3gp",)),
    "video/3gpp2": (".3g2", ()),
    "video/x-flv": (".flv", ("video/flv",)),
    "video/x-ms-wmv": (".wmv", ()),
    "audio/mpeg": (".mp3", ("audio/mp3", "audio/x-mp3", "audio/mpeg3", "audio/x-mpeg-3", "audio/x-mpeg", "audio/mpg")),
    "audio/mp4": (".m4a", ("audio/m4a", "audio/x-m4a", "audio/x-m4b", "audio/x-mp4")),
    "audio/wav": (".wav", ("audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav")),
    "audio/flac": (".flac", ("audio/x-flac",)),
    "audio/ogg": (".ogg", ("audio/vorbis", "application/ogg", "audio/x-ogg", "audio/x-vorbis+ogg")),
    "audio/opus": (".opus", ("audio/x-opus", "audio/x-opus+ogg")),
    "audio/aac": (".aac", ("audio/x-aac", "audio/aacp", "audio/x-hx-aac-adts", "audio/vnd.dlna.adts")),
    "audio/webm": (".weba", ()),
    "audio/x-matroska": (".mka", ("audio/matroska",)),
    "audio/3gpp": (".3gp", ("audio/3gp",)),
    "audio/3gpp2": (".3g2", ()),
    "audio/amr": (".amr", ("audio/x-amr",)),
    "audio/amr-wb": (".awb", ()),
    "audio/x-caf": (".caf", ("audio/caf",)),
    "audio/x-ms-wma": (".wma", ()),
    "audio/aiff": (".aiff", ("audio/x-aiff",)),
    "audio/midi": (".mid", ("audio/x-midi", "audio/mid")),
    "audio/basic": (".au", ("audio/x-au",)),
    "model/gltf-binary": (".glb", ("model/glb", "model/x-gltf-binary", "application/x-glb")),
    "model/gltf+json": (".gltf", ("model/gltf",)),
    "model/obj": (".obj", ("application/x-tgif", "model/x-obj", "application/wavefront-obj")),
    "model/mtl": (".mtl", ()),
    "model/stl": (".stl", ("model/x.stl-binary", "model/x.stl-ascii", "application/sla", "application/vnd.ms-pki.stl")),
    "model/fbx": (".fbx", ("application/fbx", "model/x-fbx", "application/vnd.autodesk.fbx")),
    "model/vnd.usdz+zip": (".usdz", ("model/usdz", "model/vnd.usdz", "model/vnd.pixar.usd")),
    "model/vnd.usd": (".usd", ("model/usd",)),
    "model/ply": (".ply", ("application/ply", "model/x-ply")),
    "model/3mf": (".3mf", ("application/vnd.ms-package.3dmanufacturing-3dmodel+xml",)),
    "model/vnd.collada+xml": (".dae", ("model/dae",)),
    "application/json": (".json", ("text/json",)),
    "application/pdf": (".pdf", ("application/x-pdf",)),
    "application/zip": (".zip", ("application/x-zip-compressed", "application/x-zip")),
    "application/gzip": (".gz", ("application/x-gzip",)),
    "text/plain": (".txt", ()),
    "text/markdown": (".md", ("text/x-markdown",)),
    "text/csv": (".csv", ()),
    "text/html": (".html", ("application/xhtml+xml",)),
    "text/vtt": (".vtt", ()),
    "application/x-subrip": (".srt", ("text/srt", "text/x-srt")),
    "application/xml": (".xml", ("text/xml",)),
    "application/yaml": (".yaml", ("text/yaml", "application/x-yaml", "text/x-yaml")),
    UNKNOWN_TYPE: (
        UNKNOWN_EXTENSION,
        (
            "binary/octet-stream",
            "application/binary",
            "application/unknown",
            "application/download",
            "application/x-download",
            "application/force-download",
        ),
    ),
}

_CANONICAL = {other: name for name, (_, others) in _TABLE.items() for other in others}


def canonical_type(mime_type: str) -> str:
    """Return the usual spelling of a MIME type, without its parameters; of several, as proxies join them, the first.

    >>> canonical_type("Audio/MP3; rate=44100")
    'audio/mpeg'
    """
    bare = mime_type.partition(";")[0].partition(",")[0].strip().lower()
    # A type that is not in the table comes back as it is, but in lower case.
    return _CANONICAL.get(bare, bare)


def extension_of(mime_type: str) -> str:
    """Return the ending of a MIME type's files, with its dot; ``.bin`` for a type that is not in the table."""
    known = _TABLE.get(canonical_type(mime_type))
    return known[0] if known else UNKNOWN_EXTENSION
