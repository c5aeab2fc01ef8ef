"""Files on their way in: by parts, or fetched by the server from a URL."""

from __future__ import annotations

import shutil
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.backend.identifiers import new_id
from airflow_provider_scenario.sandbox.backend.refusal import RefusalError, not_found
from airflow_provider_scenario.sandbox.studio.media import MediaFacts, UnreadableMediaError, probe

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.backend.jobs import Job

CHECKED_KINDS = ("image", "video", "audio")
FETCH_TIMEOUT_SECONDS = 60


@dataclass(eq=False)
class Upload:
    """One file on its way in. Times are seconds since 1970."""

    kind: str
    created_at: float
    file_name: str
    directory: Path
    content_type: str | None = None
    file_size: int | None = None
    parts: int = 0
    url: str | None = None
    upload_id: str = field(default_factory=lambda: new_id("upload"))
    job: Job | None = None
    completed_at: float | None = None
    asset_id: str | None = None
    error: str | None = None

    @property
    def path(self) -> Path:
        """Where the whole file lies once it is there."""
        return self.directory / self.upload_id

    def part_path(self, number: int) -> Path:
        """Where one part lies, counted from 1; refuses a part that was not asked for."""
        if not 1 <= number <= self.parts:
            raise RefusalError(404, f"Part {number} of {self.upload_id} not found")
        return self.directory / f"{self.upload_id}.part{number}"

    def status_at(self, now: float, seconds: float) -> str:
        """Give the status at a time, if an import takes so many seconds and its work is done."""
        if self.completed_at is None:
            return "pending"
        share = (now - self.completed_at) / seconds if seconds else 1.0
        if share >= 1 and self.error:
            return "failed"
        if share >= 1 and self.asset_id:
            return "imported"
        return "complete" if share < 1 / 3 else "validating" if share < 2 / 3 else "validated"


class UploadStore:
    """All uploads by id."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}

    def add(self, upload: Upload) -> Upload:
        """Keep a new upload."""
        self._uploads[upload.upload_id] = upload
        return upload

    def get(self, upload_id: str) -> Upload:
        """One upload; refuses with 404."""
        if upload_id not in self._uploads:
            raise not_found("Upload", upload_id)
        return self._uploads[upload_id]


def assemble(upload: Upload) -> MediaFacts | None:
    """Put the file together, or fetch it, and read its facts.

    Raises ``UnreadableMediaError`` if it is not what it should be. The bytes of some kinds (3d, text,
    model) are not looked into; they give None.
    """
    try:
        _fetch(upload) if upload.url else _join(upload)
    except OSError as error:
        raise UnreadableMediaError(f"the file could not be fetched ({type(error).__name__})") from None
    size = upload.path.stat().st_size
    if upload.file_size is not None and size != upload.file_size:
        raise UnreadableMediaError(f"{size} bytes arrived instead of the {upload.file_size} announced")
    if upload.kind not in CHECKED_KINDS:
        return None
    facts = probe(upload.path)
    if facts.kind != upload.kind:
        raise UnreadableMediaError(f"the file is of kind {facts.kind} instead of {upload.kind}")
    return facts


def _join(upload: Upload) -> None:
    with upload.path.open("wb") as whole:
        for number in range(1, upload.parts + 1):
            with upload.part_path(number).open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
            upload.part_path(number).unlink()


def _fetch(upload: Upload) -> None:
    address = str(upload.url)
    if not address.startswith(("http://", "https://")):
        raise UnreadableMediaError("only http and https URLs can be imported")
    with urllib.request.urlopen(address, timeout=FETCH_TIMEOUT_SECONDS) as reply, upload.path.open("wb") as whole:  # noqa: S310
        shutil.copyfileobj(reply, whole, 1 << 20)
