"""An asset at Scenario, and an upload that becomes one."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from airflow_provider_scenario.api.mime_types import UNKNOWN_TYPE, extension_of
from airflow_provider_scenario.exceptions import redact


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
    :param thumbnail_url: Where a small picture of it is, as long as ``url`` works; empty where there is none.
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
    thumbnail_url: str = field(default="", repr=False)

    @property
    def extension(self) -> str:
        """The file's ending with its dot, from the MIME type; ``.bin`` for an unknown one."""
        return extension_of(self.mime_type)

    def serialize(self) -> NoReturn:
        """Refuse to become an XCom, as which Airflow would keep the signed URLs: it asks for a method of this name."""
        raise TypeError("An asset is no result of a task: its URL is secret, and ends. Return its id instead.")

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
        properties, thumbnail = _object(document.get("properties")), _object(document.get("thumbnail")).get("url")
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
            thumbnail_url=thumbnail if isinstance(thumbnail, str) else "",
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


_MOST_PARTS = 10_000
"""Parts that an upload has at most (S3's own limit)."""


@dataclass(frozen=True)
class UploadPart:
    """One part of a multipart upload.

    :param number: Its place, from 1.
    :param url: Where to PUT its bytes: signed, so it is kept out of the repr.
    """

    number: int
    url: str = field(repr=False)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> UploadPart:
        """Read one of the ``parts`` of an upload; ``KeyError`` if it lacks its number or address."""
        number = document["number"]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or number != number // 1 or not 1 <= number <= _MOST_PARTS:
            raise KeyError("number")
        return cls(int(number), _required_text(document, "url"))


@dataclass(frozen=True)
class Upload:
    """One upload.

    :param has_failed: Whether it came to nothing. Any other status is still on its way, or has its asset.
    :param parts: Where to put the bytes; only in the reply that made the upload.
    :param asset_id: The asset it became, once it is imported; ``None`` if it has failed.
    """

    id: str
    has_failed: bool = False
    parts: tuple[UploadPart, ...] = ()
    asset_id: str | None = None
    error: str | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Upload:
        """Read the ``upload`` object of a reply; ``KeyError`` if it lacks its id, or a part its number or address."""
        asset_id, error = document.get("entityId"), document.get("errorMessage")
        parts, has_failed = document.get("parts"), document.get("status") == "failed"
        return cls(
            id=_required_text(document, "id"),  # without it no byte can be sent
            has_failed=has_failed,
            parts=tuple(UploadPart.read(part) for part in parts) if isinstance(parts, list) else (),
            asset_id=asset_id if isinstance(asset_id, str) and asset_id and not has_failed else None,
            error=redact(error) if isinstance(error, str) and error else None,
        )


def _required_text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str) or not value:
        raise KeyError(name)
    return value


def asset_page(asset_id: str) -> str:
    """Return the address of an asset in Scenario's web app."""
    return f"https://app.scenario.com/assets?openAssetId={asset_id}"
