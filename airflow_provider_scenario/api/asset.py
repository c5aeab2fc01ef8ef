"""A Scenario asset: a stored file, as an input or an output of jobs."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api.mime_types import UNKNOWN_TYPE, extension_of


class AssetStatus(enum.StrEnum):
    """Whether an asset's file can be had."""

    PENDING = "pending"
    SUCCESS = "success"
    ERROR = "error"

    @classmethod
    def _missing_(cls, _value: object) -> AssetStatus:
        # A status that is added later is waited for rather than trusted.
        return cls.PENDING


_LARGEST_NUMBER = 1 << 53
"""More than any size, side or length can be: what is larger, or below 0, is a slip of the reply."""

_LONGEST_TEXT = 200
"""Characters of a kind, a MIME type or an id."""


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
        return extension_of(self.mime_type)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Asset:
        """Read the ``asset`` object of a reply. Only the id and the URL must be right: an odd fact is left out.

        :raises KeyError: if it has no ``id``.
        :raises TypeError: if its URL is no text.
        """
        asset_id, url, status = _text(document["id"]), document.get("url"), document.get("status")
        if not asset_id:
            raise KeyError("id")
        if url is not None and not isinstance(url, str):
            raise TypeError("url is no text")
        properties = _object(document.get("properties"))
        return cls(
            id=asset_id,
            url=url or "",
            kind=_text(document.get("kind")),
            mime_type=_text(document.get("mimeType")) or UNKNOWN_TYPE,
            status=AssetStatus.SUCCESS if status is None else AssetStatus(str(status)),
            size=_whole(properties.get("size")),
            width=_whole(properties.get("width")),
            height=_whole(properties.get("height")),
            duration=_number(properties.get("duration")),
            frame_rate=_number(properties.get("frameRate")),
            job_id=_text(_object(document.get("metadata")).get("parentJobId")) or None,
        )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    """Return a short printable text, empty where the value is none."""
    is_text = isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()
    return str(value) if is_text else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An int may be too large for a float; NaN is in no range.
    return float(value) if 0 < value <= _LARGEST_NUMBER else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None
