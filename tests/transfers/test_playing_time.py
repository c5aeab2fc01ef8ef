"""How long a file plays, by its head alone."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image
from airflow_provider_scenario.transfers.playing_time import playing_time


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def long_box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, name, 16 + len(content)) + content


def movie(duration: int, scale: int = 1000, *, version: int = 0) -> bytes:
    times = struct.pack(">QQIQ" if version else ">IIII", 0, 0, scale, duration)
    return box(b"moov", box(b"free", b"x") + box(b"mvhd", bytes([version, 0, 0, 0]) + times))


TYPE = box(b"ftyp", b"isom\0\0\0\0")


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (TYPE + movie(2500), 2.5),
        (TYPE + movie(7 << 32, 1 << 32 >> 1, version=1), 14.0),
        (TYPE + long_box(b"mdat", b"\0" * 100) + movie(1000), 1.0),
        (TYPE + movie(0), None),
        (TYPE + movie((1 << 32) - 1), None),
        (TYPE + movie(5, 0), None),
        (TYPE + box(b"moov", b""), None),
        (TYPE + struct.pack(">I4s", 0, b"mdat") + b"to the end", None),
        (TYPE + struct.pack(">I4s", 3, b"odd."), None),
        (TYPE[:10], None),
        (b"", None),
    ],
)
def test_boxes(content: bytes, seconds: float | None) -> None:
    assert playing_time(io.BytesIO(content)) == seconds


def test_real_files(tmp_path: Path) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", seconds=1.5, width=64, height=64)
    with clip.open("rb") as file:
        assert playing_time(file) == pytest.approx(1.5, abs=0.01)
    with draw_image(tmp_path / "image.png").open("rb") as file:
        assert playing_time(file) is None


def test_sound() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0" * 4 * 8000 * 3)
    file.seek(0)
    assert playing_time(file) == 3.0


@given(st.binary(max_size=200), st.sampled_from([b"", TYPE, b"RIFF\0\0\0\0WAVE", TYPE + box(b"moov", b"")[:4]]))
def test_no_noise_ends_the_task(noise: bytes, head: bytes) -> None:
    seconds = playing_time(io.BytesIO(head + noise))
    assert seconds is None or seconds > 0
