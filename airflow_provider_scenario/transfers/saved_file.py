"""A file that was saved, and its facts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SavedFile:
    """One file that came from Scenario and stands complete in its folder.

    :param uri: Where it is, as ``ObjectStoragePath`` takes it.
    :param asset_id: The Scenario asset it came from.
    :param sha256: Its digest in hexadecimal.
    :param bytes: Its size.
    :param mime_type: Its type, as Scenario says.
    :param width: Pixels, for images and videos.
    :param height: Pixels, for images and videos.
    :param duration: Seconds, for videos and audio.
    :param frame_rate: Frames a second, for videos.
    :param kind: ``video``, ``image``, ``audio``, ...
    :param job_id: The job that made it, if it is known.
    """

    uri: str
    asset_id: str
    sha256: str
    bytes: int
    mime_type: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    frame_rate: float | None = None
    kind: str = ""
    job_id: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return asdict(self)
