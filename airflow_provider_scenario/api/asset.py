"""A Scenario asset: a stored file, as an input or an output of jobs."""

from __future__ import annotations

import enum
import math
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

_Number = TypeVar("_Number", int, float)


class AssetStatus(enum.StrEnum):
    """Whether an asset's file can be had."""

    PENDING = "pending"
    SUCCESS = "success"
    ERROR = "error"

    @classmethod
    def _missing_(cls, _value: object) -> AssetStatus:
        # A status that is added later is waited for rather than trusted.
        return cls.PENDING


_EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "model/gltf-binary": ".glb",
    "text/plain": ".txt",
}


@dataclass(frozen=True)
class Asset:
    """One asset.

    :param id: Its id, which lasts.
    :param url: Where its file is for some days: signed, so it is kept out of the repr, of logs and of XComs.
    :param kind: ``video``, ``image``, ``audio``, ``text``, ``3d``, ...
    :param mime_type: The type of the file behind ``url``.
    :param status: Whether the file can be had.
    :param size: The file's bytes, where Scenario says them.
    :param width: Pixels, for images and videos.
    :param height: Pixels, for images and videos.
    :param duration: Seconds, for videos and audio.
    :param frame_rate: Frames a second, for videos.
    :param job_id: The job that made it, where Scenario says it: an upload has none.
    """

    id: str
    url: str = field(repr=False)
    kind: str
    mime_type: str
    status: AssetStatus = AssetStatus.SUCCESS
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    frame_rate: float | None = None
    job_id: str | None = None

    @property
    def extension(self) -> str:
        """The file's ending with its dot, from the MIME type; ``.bin`` for an unknown one."""
        mime_type = self.mime_type.split(";")[0].strip().lower()
        return _EXTENSIONS.get(mime_type) or mimetypes.guess_extension(mime_type) or ".bin"

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Asset:
        """Read the ``asset`` object of a reply."""
        properties = document.get("properties") or {}
        job_id = (document.get("metadata") or {}).get("parentJobId")
        return cls(
            id=document["id"],
            url=document.get("url") or "",
            kind=document.get("kind") or "",
            mime_type=document.get("mimeType") or "application/octet-stream",
            status=AssetStatus(document.get("status") or "success"),
            size=_number(properties.get("size"), int),
            width=_number(properties.get("width"), int),
            height=_number(properties.get("height"), int),
            duration=_number(properties.get("duration"), float),
            frame_rate=_number(properties.get("frameRate"), float),
            job_id=job_id if isinstance(job_id, str) and job_id else None,
        )


def _number(value: object, kind: type[_Number]) -> _Number | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return kind(value)
