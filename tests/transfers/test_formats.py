"""Every format that is taken, in and out: sent to Scenario as what it is, and saved again byte by byte.

The table of formats in docs/files.md is this test's result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_scenario.exceptions import ScenarioInputError
from airflow_provider_scenario.sandbox.clip import draw_image
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.media.test_examine import box, make_sound, make_video
from tests.transfers.conftest import requests_to


def video(codec: str, form: str, **options: str) -> Callable[[Path], bytes]:
    return lambda target: make_video(target, codec, form, seconds=1, **options)


def sound(codec: str, form: str, **options: str) -> Callable[[Path], bytes]:
    return lambda target: make_sound(target, codec, form, seconds=1, **options)


def picture(codec: str, pix_fmt: str) -> Callable[[Path], bytes]:
    def make(target: Path) -> bytes:
        import av

        context: Any = av.CodecContext.create(codec, "w")
        context.width = context.height = 64
        context.pix_fmt, context.framerate = pix_fmt, 1
        frame = av.VideoFrame(64, 64, pix_fmt)
        frame.pts = 0
        return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])

    return make


def still(codec: str, form: str, pix_fmt: str) -> Callable[[Path], bytes]:
    """A picture in a container."""

    def make(target: Path) -> bytes:
        import av

        with av.open(str(target), "w", format=form) as made:
            stream = made.add_stream(codec, rate=1)
            stream.width = stream.height = 64
            stream.pix_fmt = pix_fmt
            frame = av.VideoFrame(64, 64, pix_fmt)
            frame.pts = 0
            made.mux(stream.encode(frame))
            made.mux(stream.encode(None))
        return target.read_bytes()

    return make


def heic(target: Path) -> bytes:
    """A phone's photo: one frame of HEVC as an item, not as a track."""
    import av

    movie = still("libx265", "mp4", "yuv420p")(target)
    with av.open(str(target)) as opened:
        coded = bytes(next(opened.demux(video=0)))
    place = movie.index(b"hvcC") - 4
    config = movie[place : place + int.from_bytes(movie[place : place + 4], "big")]
    entry = box(b"infe", b"\x02\0\0\0" + b"\0\x01\0\0hvc1\0")
    size = box(b"ispe", bytes(4) + (64).to_bytes(4, "big") * 2)
    uses = box(b"ipma", bytes(4) + b"\0\0\0\x01" + b"\0\x01\x02\x81\x02")
    kind = box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def meta(start: int) -> bytes:
        extent = start.to_bytes(4, "big") + len(coded).to_bytes(4, "big")
        return box(
            b"meta",
            bytes(4)
            + box(b"hdlr", bytes(8) + b"pict" + bytes(13))
            + box(b"pitm", bytes(4) + b"\0\x01")
            + box(b"iloc", bytes(4) + b"\x44\0\0\x01\0\x01\0\0\0\x01" + extent)
            + box(b"iinf", bytes(4) + b"\0\x01" + entry)
            + box(b"iprp", box(b"ipco", config + size) + uses),
        )

    return kind + meta(len(kind) + len(meta(0)) + 8) + box(b"mdat", coded)


def segment(marker: bytes, content: bytes) -> bytes:
    """A piece of a JPEG."""
    return b"\xff" + marker + (len(content) + 2).to_bytes(2, "big") + content


def cmyk(_: Path) -> bytes:
    """A JPEG for print: 8 x 8 pixels of four inks, each of one even tone."""
    tables = b"".join(segment(b"\xc4", bytes([number, 1]) + bytes(16)) for number in (0x00, 0x10))
    inks = b"".join(bytes([number, 0x11, 0]) for number in range(1, 5))
    scan = b"\x04" + b"".join(bytes([number, 0]) for number in range(1, 5)) + b"\0\x3f\0"
    return (
        b"\xff\xd8"
        + segment(b"\xee", b"Adobe\0\x64\0\0\0\0\0")
        + segment(b"\xdb", b"\0" + b"\1" * 64)
        + segment(b"\xc0", b"\x08\0\x08\0\x08\x04" + inks)
        + tables
        + segment(b"\xda", scan)
        + b"\0\xff\xd9"
    )


def turned_photo(target: Path) -> bytes:
    """A phone's photo as its sensor lies: 96 x 54, to be shown upright."""
    content = draw_image(target.with_suffix(".jpg"), width=96, height=54).read_bytes()
    orientation = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return content[:2] + segment(b"\xe1", orientation) + content[2:]


FORMATS: dict[str, tuple[str, str, Callable[[Path], bytes]]] = {
    "MP4, H.264": ("video", ".mp4", video("libx264", "mp4")),
    "MP4, HEVC": ("video", ".mp4", video("libx265", "mp4")),
    "MP4, AV1": ("video", ".mp4", video("libsvtav1", "mp4")),
    "MP4, in fragments": ("video", ".mp4", video("libx264", "mp4", movflags="frag_keyframe+empty_moov")),
    "MOV, H.264": ("video", ".mov", video("libx264", "mov")),
    "MOV, ProRes": ("video", ".mov", video("prores_ks", "mov")),
    "MKV": ("video", ".mkv", video("libx264", "matroska")),
    "WebM": ("video", ".webm", video("libvpx-vp9", "webm")),
    "AVI": ("video", ".avi", video("mpeg4", "avi")),
    "MPEG-TS": ("video", ".ts", video("mpeg2video", "mpegts")),
    "PNG": ("image", ".png", picture("png", "rgb24")),
    "JPEG": ("image", ".jpg", picture("mjpeg", "yuvj420p")),
    "WebP": ("image", ".webp", picture("libwebp", "yuv420p")),
    "BMP": ("image", ".bmp", picture("bmp", "bgr24")),
    "TIFF": ("image", ".tiff", picture("tiff", "rgb24")),
    "JPEG, CMYK": ("image", ".jpg", cmyk),
    "JPEG, turned by EXIF": ("image", ".jpg", turned_photo),
    "GIF": ("image", ".gif", still("gif", "gif", "rgb8")),
    "GIF, animated": ("image", ".gif", lambda target: make_video(target, "gif", "gif", seconds=1)),
    "HEIC": ("image", ".heic", heic),
    "AVIF": ("image", ".avif", still("libsvtav1", "avif", "yuv420p")),
    "MP3": ("audio", ".mp3", sound("libmp3lame", "mp3")),
    "M4A": ("audio", ".m4a", sound("aac", "ipod")),
    "AAC": ("audio", ".aac", sound("aac", "adts")),
    "FLAC": ("audio", ".flac", sound("flac", "flac")),
    "OGG, Opus": ("audio", ".ogg", sound("libopus", "ogg")),
    "WebM, Opus": ("audio", ".weba", sound("libopus", "webm")),
    "WAV": ("audio", ".wav", sound("pcm_s16le", "wav")),
    "WAV, RF64": ("audio", ".wav", sound("pcm_s16le", "wav", rf64="always")),
    "AIFF": ("audio", ".aiff", sound("pcm_s16be", "aiff")),
}


@pytest.mark.parametrize("name", FORMATS)
def test_in_and_out(scenario: SandboxServer, context: dict[str, Any], tmp_path: Path, name: str) -> None:
    kind, ending, make = FORMATS[name]
    content = make(tmp_path / "made")
    (tmp_path / "clip.dat").write_bytes(content)
    scenario.configure(upload_seconds=0)
    uploader = ObjectStorageToScenarioOperator(
        task_id="upload", source=(tmp_path / "clip.dat").as_uri(), poll_interval=0.02
    )
    saver = ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=uploader.execute(context),
        destination=f"{tmp_path}/saved",
        original=True,
    )
    (saved,) = saver.execute(context)
    path = Path(saved["uri"].removeprefix("file://"))
    assert (saved["kind"], path.suffix) == (kind, ending)
    assert path.read_bytes() == content
    if name == "JPEG, turned by EXIF":
        assert (saved["width"], saved["height"]) == (54, 96)


def test_a_drawing_is_sent_and_scenario_has_the_last_word(
    scenario: SandboxServer, context: dict[str, Any], tmp_path: Path
) -> None:
    """The sandbox can't draw it, and says so."""
    (tmp_path / "drawing.dat").write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>')
    uploader = ObjectStorageToScenarioOperator(task_id="upload", source=str(tmp_path / "drawing.dat"))
    with pytest.raises(ScenarioInputError, match=r"upload drawing\.dat.*not a readable picture"):
        uploader.execute(context)
    assert requests_to(scenario, "POST /v1/assets") == 1
