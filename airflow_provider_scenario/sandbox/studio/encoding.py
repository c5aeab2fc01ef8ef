"""Writing H.264 videos, and pictures."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from airflow_provider_scenario.sandbox.studio.geometry import Size

# One thread: the same frames then always give the same bytes.
ENCODER_OPTIONS = {"preset": "ultrafast", "crf": "24", "threads": "1"}
STILL_CODECS = {".png": ("png", "rgb24"), ".jpg": ("mjpeg", "yuvj420p"), ".jpeg": ("mjpeg", "yuvj420p")}


def write_video(path: Path | str, frames: Iterable[av.VideoFrame], size: Size, rate: Fraction) -> None:
    """Write frames of the given size (yuv420p) to an MP4 that can be played while it is still arriving."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=dict(ENCODER_OPTIONS))
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, 1 / rate
            frame.pict_type = 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_image(path: Path, frame: av.VideoFrame) -> None:
    """Write one frame as a PNG or JPEG, by the path's ending."""
    codec, pixel_format = STILL_CODECS[path.suffix.lower()]
    encoder = cast("av.VideoCodecContext", av.CodecContext.create(codec, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, pixel_format
    encoder.time_base = Fraction(1)
    picture = frame.reformat(format=pixel_format)
    picture.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None))))
