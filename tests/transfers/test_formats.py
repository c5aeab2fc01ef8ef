"""Every format that is taken, in and out: sent to Scenario as what it is, and saved again byte by byte.

The README's table of formats is this test's result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator
from tests.files.test_media import make_sound, make_video


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
