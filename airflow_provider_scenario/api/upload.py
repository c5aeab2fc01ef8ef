"""An upload: a file on its way to becoming a Scenario asset."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.exceptions import redact


class UploadStatus(enum.StrEnum):
    """Where an upload stands. Values that Scenario adds later count as :attr:`PENDING`."""

    PENDING = "pending"
    COMPLETE = "complete"
    VALIDATING = "validating"
    VALIDATED = "validated"
    IMPORTED = "imported"
    FAILED = "failed"

    @classmethod
    def _missing_(cls, _value: object) -> UploadStatus:
        return cls.PENDING


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
        """Read one of the ``parts`` of an upload.

        :raises KeyError: if it lacks its number or address.
        """
        number = document["number"]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or number != number // 1 or not 1 <= number <= _MOST_PARTS:
            raise KeyError("number")
        return cls(int(number), _text(document, "url"))


@dataclass(frozen=True)
class Upload:
    """One upload.

    :param id: Its id.
    :param status: Where it stands. ``complete`` and ``validated`` are still on their way.
    :param parts: Where to put the bytes; only in the reply that made the upload.
    :param asset_id: The asset it became, once it is imported.
    :param error: Scenario's reason for ``failed``.
    """

    id: str
    status: UploadStatus
    parts: tuple[UploadPart, ...] = ()
    asset_id: str | None = None
    error: str | None = None

    @property
    def is_imported(self) -> bool:
        """Whether the asset can be used."""
        return self.asset_id is not None and self.status is not UploadStatus.FAILED

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Upload:
        """Read the ``upload`` object of a reply.

        :raises KeyError: if it lacks its id, or a part its number or address: then no byte can be sent.
        """
        status, asset_id, error = document.get("status"), document.get("entityId"), document.get("errorMessage")
        parts = document.get("parts")
        return cls(
            id=_text(document, "id"),
            status=UploadStatus(status if isinstance(status, str) else "pending"),
            parts=tuple(UploadPart.read(part) for part in parts) if isinstance(parts, list) else (),
            asset_id=asset_id if isinstance(asset_id, str) and asset_id else None,
            error=redact(error) if isinstance(error, str) and error else None,
        )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str) or not value:
        raise KeyError(name)
    return value
