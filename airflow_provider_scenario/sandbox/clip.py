"""Small real media files for tests and demonstrations, and ``probe`` to look at any file."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.studio.drawing import drawn_frames, drawn_picture
from airflow_provider_scenario.sandbox.studio.encoding import write_image, write_video
from airflow_provider_scenario.sandbox.studio.filters import turned
from airflow_provider_scenario.sandbox.studio.geometry import Size
from airflow_provider_scenario.sandbox.studio.media import MediaFacts, UnreadableMediaError, probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

TRACK_MATRIX = 44
"""Bytes from the name of an MP4's track header to its matrix (ISO/IEC 14496-12, 8.3.2)."""
CLOCKWISE = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
"""The matrix that makes players turn a picture a quarter clockwise."""

__all__ = ["MediaFacts", "UnreadableMediaError", "draw_clip", "draw_image", "probe"]


def draw_clip(
    path: Path | str,
    *,
    seconds: float = 2,
    width: int = 320,
    height: int = 180,
    frames_per_second: float = 16,
    seed: int = 1,
    text: str = "test clip",
    is_from_a_phone: bool = False,
) -> Path:
    """Write a short H.264 MP4 with ``text`` on a moving background; the same arguments always give the same bytes.

    Width and height, as they are shown, must be even numbers of pixels. A clip from a phone is stored lying on its
    side, and upright only by its rotation mark.
    """
    rate = Fraction(str(frames_per_second))
    frames = max(round(Fraction(str(seconds)) * rate), 1)
    size = Size(width, height)
    shown = drawn_frames(size, frames, seed, text, f"SEED {seed}")
    if not is_from_a_phone:
        write_video(path, shown, size, rate)
        return Path(path)
    lying = Size(height, width)
    write_video(path, _lying(shown), lying, rate)
    content = Path(path).read_bytes()
    matrix = content.index(b"tkhd") + TRACK_MATRIX
    Path(path).write_bytes(content[:matrix] + CLOCKWISE + content[matrix + len(CLOCKWISE) :])
    return Path(path)


def _lying(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    turn = None
    for frame in frames:
        turn = turn or turned(frame, 90)
        yield turn(frame)


def draw_image(path: Path | str, *, width: int = 320, height: int = 180, seed: int = 1, text: str = "image") -> Path:
    """Write a picture with ``text``: a PNG or a JPEG, by the path's ending."""
    write_image(Path(path), drawn_picture(Size(width, height), seed, text))
    return Path(path)
