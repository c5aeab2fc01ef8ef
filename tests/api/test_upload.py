"""What is read of an upload."""

from __future__ import annotations

import pytest

from airflow_provider_scenario.api.asset import Upload, UploadPart, UploadStatus

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
    ("status", "asset_id", "expected", "is_imported"),
    [
        ("pending", None, UploadStatus.PENDING, False),
        ("complete", None, UploadStatus.COMPLETE, False),
        ("validating", None, UploadStatus.VALIDATING, False),
        ("validated", None, UploadStatus.VALIDATED, False),
        ("imported", "asset_1", UploadStatus.IMPORTED, True),
        ("imported", None, UploadStatus.IMPORTED, False),
        ("complete", "asset_1", UploadStatus.COMPLETE, True),
        ("failed", None, UploadStatus.FAILED, False),
        ("failed", "asset_1", UploadStatus.FAILED, False),
        ("scanning", None, UploadStatus.PENDING, False),
        (None, "", UploadStatus.PENDING, False),
    ],
)
def test_an_asset_id_tells_that_it_is_imported(
    status: str | None, asset_id: str | None, expected: UploadStatus, is_imported: bool
) -> None:
    upload = Upload.read({"id": "upload_1", "status": status, "entityId": asset_id})
    assert upload.status is expected
    assert upload.is_imported is is_imported


def test_the_reason_of_a_failure_is_kept_without_addresses() -> None:
    upload = Upload.read({"id": "upload_1", "status": "failed", "errorMessage": f"{SIGNED} is no video"})
    assert upload.error == "https://storage.example/part?… is no video"
