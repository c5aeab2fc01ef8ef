"""A file that was saved: its facts, as JSON for XComs and for the extra of Airflow assets."""

from __future__ import annotations

from collections.abc import Sequence
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

    def facts(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return asdict(self)


def event_extra(files: Sequence[SavedFile], folder: str, job_id: str | None) -> dict[str, Any]:
    """Return the flat facts that go with an Airflow asset's event.

    :param files: What was saved, one at least.
    :param folder: Where.
    :param job_id: The job they come from, if known.
    :return: For one file its facts. For several ``uri`` is the folder, ``uris`` and ``asset_ids`` name them in order,
        ``bytes`` is their sum. What isn't known is left out.
    """
    if len(files) == 1:
        extra = files[0].facts()
    else:
        extra = {
            "uri": folder,
            "uris": [file.uri for file in files],
            "asset_ids": [file.asset_id for file in files],
            "bytes": sum(file.bytes for file in files),
        }
    extra = {**extra, "files": len(files), "job_id": job_id}
    return {key: value for key, value in extra.items() if value is not None}
