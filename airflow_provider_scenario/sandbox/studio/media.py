"""Reading media files: what they are, and their frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from airflow_provider_scenario.sandbox.studio.filters import turned
from airflow_provider_scenario.sandbox.studio.geometry import Size, Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STILL_FORMATS = ("image2", "gif", "svg")
STILL_BRANDS = (
    *("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"),
    *("heif", "mif1", "mif2", "msf1", "miaf", "avif", "avis"),
)
"""Pictures in the container that MP4 has."""

CODECS = {"libdav1d": "av1", "dav1d": "av1", "libaom-av1": "av1", "mp3float": "mp3"}
"""What the programs that decode are called, where that is not the codec's name."""

STILLS = {"hevc": "heic", "av1": "avif"}
"""Pictures that are one frame of a video's codec."""


class UnreadableMediaError(ValueError):
    """A file is neither a picture nor a video nor a sound, or is damaged."""


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a media file holds; a fact that its kind does not have is None."""

    kind: str
    """``video``, ``image`` or ``audio``."""
    codec: str
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    rate: Fraction | None = None
    """Frames a second."""
    duration: float | None = None
    """Seconds."""
    bit_rate: int | None = None
    """Bits a second."""
    sample_rate: int | None = None
    """Sound samples a second."""
    channels: int | None = None

    @property
    def size(self) -> Size | None:
        """Width and height, where the file has a picture."""
        return Size(self.width, self.height) if self.width and self.height else None

    @property
    def timing(self) -> Timing | None:
        """Frames and rate, where the file is a video."""
        return Timing(self.frames, self.rate) if self.frames and self.rate else None


def probe(path: Path | str) -> MediaFacts:
    """Read what a media file holds from its own bytes; raises ``UnreadableMediaError``."""
    try:
        with av.open(str(path)) as container:
            if container.streams.video:
                return _picture_facts(container)
            if container.streams.audio:
                return _sound_facts(container)
    except (av.FFmpegError, OSError, EOFError, ValueError) as error:
        raise UnreadableMediaError(
            f"the file is not a readable picture, video or sound ({type(error).__name__})"
        ) from None
    raise UnreadableMediaError("the file holds neither a picture nor a sound")


def _picture_facts(container: av.container.InputContainer) -> MediaFacts:
    stream = container.streams.video[0]
    codec = _codec(stream)
    width, height = stream.codec_context.width, stream.codec_context.height
    if _is_still(container):
        degrees = _mark(next(container.decode(stream)))
        return MediaFacts("image", STILLS.get(codec, codec), *_as_shown(width, height, degrees))
    frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    if not frames:
        raise ValueError("no frames")
    container.seek(0)
    width, height = _as_shown(width, height, _mark(next(container.decode(stream), None)))
    seconds = (
        float(stream.duration * stream.time_base) if stream.duration and stream.time_base else float(frames / rate)
    )
    return MediaFacts("video", codec, width, height, frames, Fraction(rate), seconds, container.bit_rate or None)


def _codec(stream: av.stream.Stream) -> str:
    if stream.codec_context is None:
        raise ValueError("no decoder")  # As for a drawing.
    name = str(stream.codec_context.name)
    return CODECS.get(name, name.removeprefix("lib"))


def _is_still(container: av.container.InputContainer) -> bool:
    brand = container.metadata.get("major_brand", "").strip()
    return container.format.name.endswith("_pipe") or container.format.name in STILL_FORMATS or brand in STILL_BRANDS


def _mark(frame: av.VideoFrame | None) -> int:
    """Give the degrees by which a player turns a picture counter-clockwise: a phone stores it as its sensor lies."""
    return 0 if frame is None else round(frame.rotation / 90) * 90 % 360


def _as_shown(width: int, height: int, degrees: int) -> tuple[int, int]:
    return (height, width) if degrees % 180 else (width, height)


def _upright_frames(container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    """Give the frames as every player shows them."""
    turn: Callable[[av.VideoFrame], av.VideoFrame] | None = None
    for frame in container.decode(container.streams.video[0]):
        degrees = _mark(frame)
        if degrees and turn is None:
            turn = turned(frame, degrees)
        yield turn(frame) if turn is not None else frame


def _sound_facts(container: av.container.InputContainer) -> MediaFacts:
    stream = container.streams.audio[0]
    seconds = (container.duration or 0) / av.time_base
    context = stream.codec_context
    return MediaFacts(
        "audio",
        _codec(stream),
        duration=seconds,
        bit_rate=container.bit_rate or None,
        sample_rate=context.sample_rate,
        channels=context.channels,
    )


def first_frame(path: Path | str) -> av.VideoFrame:
    """Give the first frame of a picture or video file, upright."""
    with av.open(str(path)) as container:
        return next(_upright_frames(container))


def sampled_frames(
    path: Path | str, timing: Timing, change: Callable[[av.VideoFrame], av.VideoFrame]
) -> Iterator[av.VideoFrame]:
    """Give exactly ``timing.frames`` changed frames: the one shown at each instant, the last held to the end."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        source_rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        wanted = 0
        changed: av.VideoFrame | None = None
        latest: av.VideoFrame | None = None
        for index, frame in enumerate(_upright_frames(container)):
            changed, latest = None, frame
            while wanted < timing.frames and int(wanted / timing.rate * source_rate) <= index:
                changed = changed or change(frame)
                yield changed
                wanted += 1
            if wanted == timing.frames:
                return
        if latest is None:
            raise UnreadableMediaError("the video holds no frames")
        changed = changed or change(latest)
        for _ in range(wanted, timing.frames):
            yield changed
