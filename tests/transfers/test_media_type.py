"""What a file holds: by its bytes, then by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image
from airflow_provider_scenario.transfers.media_type import HEAD, MediaType, media_type_of


@pytest.mark.parametrize(
    ("name", "head", "content_type"),
    [
        ("x", b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        ("x.mov", b"\x00\x00\x00\x14ftypqt  ", "video/quicktime"),
        ("x.mp4", b"\x00\x00\x00\x14ftypM4A ", "audio/mp4"),
        ("x.jpg", b"\x00\x00\x00\x14ftypavif", "image/avif"),
        ("x.jpg", b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        ("x", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("x", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("x", b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav"),
        ("x", b"RIFF\x00\x00\x00\x00AVI LIST", "video/x-msvideo"),
        ("x", b"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x84webm", "video/webm"),
        ("x.weba", b"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x84webm", "audio/webm"),
        ("x", b"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x88matroska", "video/x-matroska"),
        ("x", b"ID3\x04", "audio/mpeg"),
        ("x", b"fLaC\x00", "audio/flac"),
        ("x", b'<?xml version="1.0"?>\n<svg xmlns', "image/svg+xml"),
        ("clip.MP4", b"something", "video/mp4"),
        ("ö clip.webm", b"something", "video/webm"),
        ("a.b.mp3", b"something", "audio/mpeg"),
    ],
)
def test_known(name: str, head: bytes, content_type: str) -> None:
    assert media_type_of(name, head) == MediaType(content_type.partition("/")[0], content_type)


@pytest.mark.parametrize(("name", "head"), [("notes.txt", b"hello"), ("mp4", b"hello"), ("x", b""), ("a.zip", b"PK")])
def test_unknown(name: str, head: bytes) -> None:
    assert media_type_of(name, head) is None


def test_real_files(tmp_path: Path) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", seconds=0.5, width=64, height=64).read_bytes()
    image = draw_image(tmp_path / "image.jpg", width=64, height=64).read_bytes()
    assert media_type_of("nothing", clip[:HEAD]) == MediaType("video", "video/mp4")
    assert media_type_of("nothing", image[:HEAD]) == MediaType("image", "image/jpeg")
