"""A model's work, played by simple means: what comes in decides what is drawn.

- a source video and ``expandRatio``: the video is widened, the source stays in its place (outpainting);
- a source video: its largest part of the wanted aspect is shown, nearer by ``zoomFactor`` (reframe, animate);
- a source image: the video starts with exactly that image and slowly moves closer; with a last image it ends with that;
- no source: the prompt and the seed, legible on a moving background whose colours come from the seed.

The same order always gives the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.studio.drawing import drawn_frames
from airflow_provider_scenario.sandbox.studio.encoding import write_video
from airflow_provider_scenario.sandbox.studio.filters import cropped, widened
from airflow_provider_scenario.sandbox.studio.geometry import (
    Box,
    Size,
    Timing,
    even,
    frame_size,
    frame_timing,
    kept_part,
    source_place,
)
from airflow_provider_scenario.sandbox.studio.media import MediaFacts, first_frame, sampled_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import av

DEEPEST_ZOOM = Fraction(12, 100)
TINY_SHORT_SIDE = 64
TINY_TIMING = Timing(8, Fraction(16))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A media file given to a model."""

    input_name: str
    path: Path
    facts: MediaFacts


@dataclass(frozen=True)
class Order:
    """One video to make."""

    model_id: str
    inputs: Mapping[str, object]
    """The complete inputs: defaults filled in."""
    seed: int
    sources: tuple[SourceFile, ...] = ()

    def sources_of(self, kind: str) -> list[SourceFile]:
        """Give the source files of one kind, in the order of the model's inputs."""
        return [source for source in self.sources if source.facts.kind == kind]

    @property
    def main_source(self) -> SourceFile | None:
        """The file the video is made of: the first video, else the first image, else none."""
        return next(iter((*self.sources_of("video"), *self.sources_of("image"))), None)

    @property
    def size(self) -> Size:
        """The size of the video to be made."""
        return frame_size(self.inputs, self.main_source.facts.size if self.main_source else None)

    @property
    def timing(self) -> Timing:
        """The length and rate of the video to be made."""
        return frame_timing(self.inputs, self.main_source.facts.timing if self.main_source else None)

    @property
    def digest(self) -> str:
        """A fingerprint of everything that decides how the video looks."""
        facts = (self.model_id, sorted(self.inputs.items()), self.seed, [source.path.name for source in self.sources])
        return hashlib.sha256(repr(facts).encode()).hexdigest()


def render(order: Order, path: Path) -> None:
    """Make the video and write it to ``path``."""
    write_video(path, _frames(order), order.size, order.timing.rate)


def _frames(order: Order) -> Iterator[av.VideoFrame]:
    source = order.main_source
    if source is None:
        prompt = str(order.inputs.get("prompt") or order.model_id)
        return drawn_frames(order.size, order.timing.frames, order.seed, prompt, f"SEED {order.seed}")
    if source.facts.kind == "image":
        return _zooming_frames([image.path for image in order.sources_of("image")[:2]], order.size, order.timing.frames)
    first = first_frame(source.path)
    picture = Size(first.width, first.height)
    if "expandRatio" in order.inputs:
        change = widened(first, source_place(order.inputs, picture, order.size), order.size)
    else:
        change = cropped(first, kept_part(order.inputs, picture, order.size), order.size)
    return sampled_frames(source.path, order.timing, change)


def _zooming_frames(images: list[Path], size: Size, frames: int) -> Iterator[av.VideoFrame]:
    """Move slowly towards the first image's middle; a second image takes over half-way, and ends at rest."""
    halves = [frames] if len(images) == 1 else [frames - frames // 2, frames // 2]
    for number, (image, count) in enumerate(zip(images, halves, strict=True)):
        still = first_frame(image)
        whole = kept_part({}, Size(still.width, still.height), size)
        for step in range(count):
            nearness = Fraction(step if number == 0 else count - 1 - step, max(count - 1, 1))
            yield cropped(still, _nearer(whole, nearness), size)(still)


def _nearer(whole: Box, nearness: Fraction) -> Box:
    """Give the box moved closer to its middle: 0 is the whole, 1 the closest."""
    width = even(whole.width * (1 - DEEPEST_ZOOM * nearness)) if nearness else whole.width
    height = even(whole.height * (1 - DEEPEST_ZOOM * nearness)) if nearness else whole.height
    return Box(
        whole.left + (whole.width - width) // 2,
        whole.top + (whole.height - height) // 2,
        min(width, whole.width),
        min(height, whole.height),
    )


def render_tiny(order: Order, path: Path) -> None:
    """Write a valid video of the right aspect: 8 small frames, and bytes that are this order's own.

    The picture is the same for all orders of an aspect; a box that players skip carries the order's fingerprint.
    """
    path.write_bytes(_tiny_video(order.size) + skipped_box(order.digest.encode()))


@lru_cache(maxsize=64)
def _tiny_video(size: Size) -> bytes:
    scale = Fraction(TINY_SHORT_SIDE, min(size.width, size.height))
    small = Size(even(size.width * scale), even(size.height * scale))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "tiny.mp4"
        write_video(path, drawn_frames(small, TINY_TIMING.frames, 0, "", ""), small, TINY_TIMING.rate)
        return path.read_bytes()


def skipped_box(payload: bytes) -> bytes:
    """Give an MP4 box that every player skips."""
    return (len(payload) + 8).to_bytes(4, "big") + b"free" + payload
