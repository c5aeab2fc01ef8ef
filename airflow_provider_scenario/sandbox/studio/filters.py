"""Changes of one frame into another. Each is made for frames of one size and pixel format."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_scenario.sandbox.studio.geometry import Box, Size

    Change = Callable[[av.VideoFrame], av.VideoFrame]

BLUR_FACTOR = 24
TURNS: dict[int, tuple[tuple[str, str], ...]] = {
    0: (),
    90: (("transpose", "cclock"),),
    180: (("hflip", ""), ("vflip", "")),
    270: (("transpose", "clock"),),
}


class _Chain:
    """A filter graph fed one frame at a time, giving one frame back for each."""

    def __init__(self, first: av.VideoFrame) -> None:
        self.graph = av.filter.Graph()
        self.input = self.graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=Fraction(1, 1000)
        )
        self._count = 0

    def add(self, name: str, arguments: str = "") -> av.filter.FilterContext:
        return self.graph.add(name, arguments)

    def finish(self, last: av.filter.FilterContext) -> Change:
        pixels = self.graph.add("format", "yuv420p")
        sink = self.graph.add("buffersink")
        last.link_to(pixels)
        pixels.link_to(sink)
        self.graph.configure()
        return self._change

    def _change(self, frame: av.VideoFrame) -> av.VideoFrame:
        frame.pts, frame.time_base = self._count, Fraction(1, 1000)
        self._count += 1
        self.graph.push(frame)
        changed = self.graph.pull()
        if not isinstance(changed, av.VideoFrame):
            raise TypeError("a video filter gave something else than a frame")
        return changed


def widened(first: av.VideoFrame, place: Box, frame: Size) -> Change:
    """Lay the source at its place in a larger frame, over a blurred copy of itself that fills the rest."""
    chain = _Chain(first)
    split = chain.add("split", "2")
    tiny = chain.add("scale", f"{max(frame.width // BLUR_FACTOR, 4)}:{max(frame.height // BLUR_FACTOR, 4)}:flags=area")
    blurred = chain.add("scale", f"{frame.width}:{frame.height}:flags=bicubic")
    inner = chain.add("scale", f"{place.width}:{place.height}:flags=bicubic")
    overlay = chain.add("overlay", f"{place.left}:{place.top}")
    chain.input.link_to(split)
    split.link_to(tiny, 0, 0)
    split.link_to(inner, 1, 0)
    tiny.link_to(blurred)
    blurred.link_to(overlay, 0, 0)
    inner.link_to(overlay, 0, 1)
    return chain.finish(overlay)


def turned(first: av.VideoFrame, degrees: int) -> Change:
    """Turn frames counter-clockwise by a multiple of 90 degrees."""
    chain = _Chain(first)
    last = chain.input
    for name, arguments in TURNS[degrees % 360]:
        step = chain.add(name, arguments)
        last.link_to(step)
        last = step
    return chain.finish(last)


def cropped(first: av.VideoFrame, part: Box, frame: Size) -> Change:
    """Keep one part of the source and scale it to the frame."""
    chain = _Chain(first)
    crop = chain.add("crop", f"{part.width}:{part.height}:{part.left}:{part.top}:exact=1")
    scale = chain.add("scale", f"{frame.width}:{frame.height}:flags=bicubic")
    chain.input.link_to(crop)
    crop.link_to(scale)
    return chain.finish(scale)
