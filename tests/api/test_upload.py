"""What is read of an upload."""

from __future__ import annotations

import pytest

from airflow_provider_scenario.api.asset import Upload, UploadPart

SIGNED = "https://storage.example/part?X-Amz-Signature=SeCrEt"


def test_a_new_upload_has_its_parts_and_shows_no_address() -> None:
    upload = Upload.read(
        {
            "id": "upload_1",
            "status": "pending",
            "parts": [{"number": 1, "url": SIGNED, "expires": "…"}, {"number": 2.0, "url": SIGNED}],
        }
    )
    assert upload.parts == (UploadPart(1, SIGNED), UploadPart(2, SIGNED))
    assert "SeCrEt" not in repr(upload)


@pytest.mark.parametrize(
    ("status", "has_failed"),
    [("pending", False), ("imported", False), ("failed", True), ("scanning", False), (None, False)],
)
def test_an_upload_fails_by_its_status_alone(status: str | None, has_failed: bool) -> None:
    upload = Upload.read({"id": "upload_1", "status": status, "entityId": "asset_1"})
    assert (upload.has_failed, upload.asset_id) == (has_failed, None if has_failed else "asset_1")


@pytest.mark.parametrize(("given", "asset_id"), [("asset_1", "asset_1"), ("", None), (None, None), (5, None)])
def test_an_asset_id_that_is_none_is_no_asset(given: object, asset_id: str | None) -> None:
    assert Upload.read({"id": "upload_1", "status": "imported", "entityId": given}).asset_id == asset_id


def test_the_reason_of_a_failure_is_kept_without_addresses() -> None:
    upload = Upload.read({"id": "upload_1", "status": "failed", "errorMessage": f"{SIGNED} is no video"})
    assert upload.error == "https://storage.example/part?… is no video"
