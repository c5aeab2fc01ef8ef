"""What is read of an asset."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_scenario.api.asset import Asset, AssetStatus

SIGNED = "https://cdn.cloud.scenario.com/assets/a?Policy=p&Signature=SeCrEt&Key-Pair-Id=k"


def test_a_whole_asset_is_read_and_its_url_is_not_shown() -> None:
    asset = Asset.read(
        {
            "id": "asset_1",
            "url": SIGNED,
            "kind": "video",
            "mimeType": "video/mp4",
            "status": "success",
            "properties": {"size": 1234, "width": 1280, "height": 720, "duration": 5.0625, "frameRate": 16},
        }
    )
    assert asset == Asset("asset_1", SIGNED, "video", "video/mp4", AssetStatus.SUCCESS, 1234, 1280, 720, 5.0625, 16.0)
    assert "cdn.cloud" not in repr(asset)


def test_an_id_alone_is_enough() -> None:
    assert Asset.read({"id": "asset_1"}) == Asset("asset_1", "", "", "application/octet-stream")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", AssetStatus.PENDING),
        ("success", AssetStatus.SUCCESS),
        ("error", AssetStatus.ERROR),
        ("transcoding", AssetStatus.PENDING),
        (None, AssetStatus.SUCCESS),
    ],
)
def test_an_unknown_status_is_waited_for(status: str | None, expected: AssetStatus) -> None:
    assert Asset.read({"id": "asset_1", "status": status}).status is expected


@pytest.mark.parametrize("value", [None, "12", True, [12], float("nan"), float("inf")])
def test_a_property_that_is_no_number_is_left_out(value: Any) -> None:
    properties = dict.fromkeys(["size", "width", "height", "duration", "frameRate"], value)
    asset = Asset.read({"id": "asset_1", "properties": properties})
    assert (asset.size, asset.width, asset.height, asset.duration, asset.frame_rate) == (None,) * 5


@pytest.mark.parametrize(
    ("mime_type", "extension"),
    [
        ("video/mp4", ".mp4"),
        ("VIDEO/MP4", ".mp4"),
        ("video/mp4; codecs=avc1", ".mp4"),
        ("video/webm", ".webm"),
        ("video/quicktime", ".mov"),
        ("image/jpeg", ".jpg"),
        ("image/png", ".png"),
        ("image/webp", ".webp"),
        ("audio/mpeg", ".mp3"),
        ("audio/x-wav", ".wav"),
        ("model/gltf-binary", ".glb"),
        ("application/octet-stream", ".bin"),
        ("made/up", ".bin"),
        ("", ".bin"),
    ],
)
def test_the_ending_follows_the_mime_type(mime_type: str, extension: str) -> None:
    assert Asset.read({"id": "asset_1", "mimeType": mime_type}).extension == extension
