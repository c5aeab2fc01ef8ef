"""Files that Scenario keeps, and what it tells about them."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend.refusal import not_found

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.studio.media import MediaFacts

MIME_TYPES = {"h264": "video/mp4", "png": "image/png", "mjpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
ENDINGS = {"video/mp4": "mp4", "image/png": "png", "image/jpeg": "jpg", "text/plain": "txt"}


@dataclass
class Asset:
    """One file. Times are seconds since 1970."""

    asset_id: str
    kind: str
    mime_type: str
    path: Path
    properties: dict[str, Any]
    source: str
    """How it came to be: ``txt2video``, ``uploaded-video``, ..."""
    created_at: float
    ready_at: float
    status: str = "success"
    """What it becomes at ``ready_at``: success or error."""
    facts: MediaFacts | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_id: str | None = None
    number: int = 0

    def status_at(self, now: float) -> str:
        """``pending`` until it is ready."""
        return self.status if now >= self.ready_at else "pending"

    @property
    def stored_format(self) -> str:
        """The file ending of the stored format."""
        ending = mimetypes.guess_extension(self.mime_type) or ".bin"
        return ENDINGS.get(self.mime_type, ending.removeprefix("."))


def properties_of(facts: MediaFacts, size: int) -> dict[str, Any]:
    """Give an asset's ``properties``, from what was read from its bytes."""
    found = {
        "size": size,
        "width": facts.width,
        "height": facts.height,
        "duration": facts.duration,
        "frameRate": float(facts.rate) if facts.rate else None,
        "nbFrames": facts.frames,
        "bitrate": facts.bit_rate,
        "codecName": facts.codec,
        "sampleRate": facts.sample_rate,
        "channels": facts.channels,
    }
    return {name: value for name, value in found.items() if value is not None}


def mime_type_of(facts: MediaFacts, declared: str | None = None) -> str:
    """Give the MIME type of a file, as its sender declared it, else by its codec: one codec fits many containers."""
    return declared or MIME_TYPES.get(facts.codec) or f"{facts.kind}/{facts.codec}"


class AssetStore:
    """All assets, in the order in which they were made."""

    def __init__(self) -> None:
        self._assets: dict[str, Asset] = {}

    def add(self, asset: Asset) -> Asset:
        """Keep a new asset."""
        asset.number = len(self._assets) + 1
        self._assets[asset.asset_id] = asset
        return asset

    def get(self, asset_id: str) -> Asset:
        """One asset; refuses with 404."""
        if asset_id not in self._assets:
            raise not_found("Asset", asset_id)
        return self._assets[asset_id]

    def find(self, asset_id: str) -> Asset | None:
        """One asset, or None."""
        return self._assets.get(asset_id)

    def newest_first(self) -> list[Asset]:
        """All assets, the newest first."""
        return list(reversed(self._assets.values()))
