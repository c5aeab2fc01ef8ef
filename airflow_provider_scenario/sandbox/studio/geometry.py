"""How large, how long and how fast a video will be: pure functions of a model's inputs and of the source.

``frame_size`` follows these steps, the first that fits wins:

1. an input ``size`` such as ``1280*720`` is taken as it stands;
2. a model with neither ``size`` nor ``resolution`` (Wan 2.1) makes 832x480, or 480x832 for ``aspectRatio`` 9:16;
3. else ``resolution`` (``720p``) is the short side; the aspect is ``aspectRatio`` unless that is ``auto`` or absent;
4. for ``auto``, the source's aspect counts: widened first by ``expandRatio`` on each side whose ``expand...`` is true;
5. without a source the aspect is 16:9.

The long side is the nearest even number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SHORT_SIDE = 480
DEFAULT_LONG_SIDE = 832
DEFAULT_FRAMES = 81
DEFAULT_RATE = Fraction(16)
DURATION_RATE = Fraction(24)


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def aspect(self) -> Fraction:
        """Width divided by height."""
        return Fraction(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, counted from the top left corner of what it lies in."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Timing:
    """The number of frames of a video, and how many of them are shown in a second."""

    frames: int
    rate: Fraction

    @property
    def seconds(self) -> float:
        """The running time in seconds."""
        return float(self.frames / self.rate)


def even(value: Fraction) -> int:
    """Give the nearest even whole number, at least 2: H.264 halves the colour planes."""
    return max(2, round(value / 2) * 2)


def frame_size(inputs: Mapping[str, object], source: Size | None = None) -> Size:
    """Give the size of the video a model makes of these complete inputs (defaults filled in) and this source."""
    size = inputs.get("size")
    if isinstance(size, str) and "*" in size:
        width, _, height = size.partition("*")
        return Size(int(width), int(height))
    resolution = inputs.get("resolution")
    if resolution is None and source is None:
        tall = inputs.get("aspectRatio") == "9:16"
        long_side, short_side = DEFAULT_LONG_SIDE, DEFAULT_SHORT_SIDE
        return Size(short_side, long_side) if tall else Size(long_side, short_side)
    short_side = int(str(resolution).rstrip("p")) if resolution is not None else DEFAULT_SHORT_SIDE
    aspect = _aspect(inputs, source)
    if aspect >= 1:
        return Size(even(short_side * aspect), short_side)
    return Size(short_side, even(short_side / aspect))


def _aspect(inputs: Mapping[str, object], source: Size | None) -> Fraction:
    wanted = inputs.get("aspectRatio")
    if isinstance(wanted, str) and ":" in wanted:
        width, _, height = wanted.partition(":")
        return Fraction(int(width), int(height))
    if source is None:
        return Fraction(16, 9)
    width_factor, height_factor, _, _ = _widening(inputs)
    return source.aspect * width_factor / height_factor


def _widening(inputs: Mapping[str, object]) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """By what the source's width and height are multiplied, and what is added left and above, in source sides."""
    ratio = Fraction(str(inputs.get("expandRatio", 0)))
    left, right, top, bottom = (
        ratio if inputs.get(name) else Fraction(0)
        for name in ("expandLeft", "expandRight", "expandTop", "expandBottom")
    )
    return 1 + left + right, 1 + top + bottom, left, top


def source_place(inputs: Mapping[str, object], source: Size, frame: Size) -> Box:
    """Where the source lies in an outpainted frame: nothing of it is lost, and its aspect is kept."""
    width_factor, height_factor, left, top = _widening(inputs)
    wide, high = source.width * width_factor, source.height * height_factor
    canvas_wide = max(wide, high * frame.aspect)
    scale = frame.width / canvas_wide
    canvas_high = frame.height / scale
    left_pixels = (source.width * left + (canvas_wide - wide) / 2) * scale
    top_pixels = (source.height * top + max(canvas_high - high, Fraction(0)) / 2) * scale
    width = min(even(source.width * scale), frame.width)
    height = min(even(source.height * scale), frame.height)
    return Box(
        min(round(left_pixels / 2) * 2, frame.width - width),
        min(round(top_pixels / 2) * 2, frame.height - height),
        width,
        height,
    )


def kept_part(inputs: Mapping[str, object], source: Size, frame: Size) -> Box:
    """Which part of the source a reframed video shows: the largest centred box of its aspect, less ``zoomFactor``."""
    zoom = 1 - Fraction(str(inputs.get("zoomFactor", 0) or 0))
    width = min(Fraction(source.width), source.height * frame.aspect)
    height = width / frame.aspect
    wide = min(even(width * zoom), source.width)
    high = min(even(height * zoom), source.height)
    return Box((source.width - wide) // 2, (source.height - high) // 2, wide, high)


def frame_timing(inputs: Mapping[str, object], source: Timing | None = None) -> Timing:
    """How many frames, and how fast: by ``frameNum`` (16 a second), ``duration`` (24 a second) or ``numFrames``.

    ``matchInputNumFrames`` and ``matchInputFramesPerSecond`` take the source's number; a model that has none of these
    inputs keeps the source's timing, and without a source makes 81 frames at 16 a second.
    """
    if "frameNum" in inputs:
        return Timing(_whole(inputs["frameNum"]), DEFAULT_RATE)
    if "duration" in inputs:
        return Timing(_whole(round(Fraction(str(inputs["duration"])) * DURATION_RATE)), DURATION_RATE)
    fallback = source if source and "numFrames" not in inputs else Timing(DEFAULT_FRAMES, DEFAULT_RATE)
    frames = _whole(inputs.get("numFrames", fallback.frames))
    rate = Fraction(str(inputs.get("framesPerSecond", fallback.rate)))
    if source and inputs.get("matchInputNumFrames"):
        frames = source.frames
    if source and inputs.get("matchInputFramesPerSecond"):
        rate = source.rate
    return Timing(frames, rate)


def _whole(value: object) -> int:
    return max(1, int(float(str(value))))
