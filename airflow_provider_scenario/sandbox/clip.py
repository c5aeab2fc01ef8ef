"""Small real media files for tests and demonstrations, and ``probe`` to look at any file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from airflow_provider_scenario.sandbox.studio.drawing import drawn_frames, drawn_picture
from airflow_provider_scenario.sandbox.studio.encoding import write_image, write_video
from airflow_provider_scenario.sandbox.studio.geometry import Size
from airflow_provider_scenario.sandbox.studio.media import MediaFacts, UnreadableMediaError, probe

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
) -> Path:
    """Write a short H.264 MP4 with ``text`` on a moving background; the same arguments always give the same bytes.

    Width and height must be even numbers of pixels.
    """
    rate = Fraction(str(frames_per_second))
    frames = max(round(Fraction(str(seconds)) * rate), 1)
    size = Size(width, height)
    write_video(path, drawn_frames(size, frames, seed, text, f"SEED {seed}"), size, rate)
    return Path(path)


def draw_image(path: Path | str, *, width: int = 320, height: int = 180, seed: int = 1, text: str = "image") -> Path:
    """Write a picture with ``text``: a PNG or a JPEG, by the path's ending."""
    write_image(Path(path), drawn_picture(Size(width, height), seed, text))
    return Path(path)
