"""Everything there is in one sandbox."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.backend.assets import AssetStore
from airflow_provider_scenario.sandbox.backend.catalogue import Catalogue
from airflow_provider_scenario.sandbox.backend.clock import Clock
from airflow_provider_scenario.sandbox.backend.identifiers import new_id
from airflow_provider_scenario.sandbox.backend.jobs import JobStore
from airflow_provider_scenario.sandbox.backend.ledger import Ledger
from airflow_provider_scenario.sandbox.backend.signing import Signer
from airflow_provider_scenario.sandbox.backend.uploads import UploadStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.settings import Settings


class World:
    """The state of one sandbox."""

    def __init__(self, settings: Settings, directory: Path, renderers: int = 1) -> None:
        self.first_settings = settings
        self.directory = directory
        self.clock = Clock()
        self.signer = Signer()
        self.team_id, self.project_id, self.author_id = new_id("team"), new_id("proj"), new_id("key")
        self.started_at = self.clock.now()
        self.workers = ThreadPoolExecutor(renderers, thread_name_prefix="studio")
        self.era = 0
        self.reset()

    def reset(self) -> None:
        """Go back to the first settings and forget everything but the keys; work under way is thrown away."""
        shutil.rmtree(self.files, ignore_errors=True)
        self.era += 1
        self.files.mkdir(parents=True, exist_ok=True)
        self.settings = self.first_settings
        self.clock.skew = self.settings.clock_skew_seconds
        self.catalogue = Catalogue()
        self.jobs, self.assets, self.uploads, self.ledger = JobStore(), AssetStore(), UploadStore(), Ledger()
        self.in_studio: set[str] = set()
        self.last_submission = float("-inf")

    @property
    def files(self) -> Path:
        """The folder of the assets' files."""
        return self.directory / f"files-{self.era}"

    def configure(self, values: dict[str, object]) -> None:
        """Change settings; raises ``SettingsError``."""
        self.settings = self.settings.changed(values)
        self.clock.skew = self.settings.clock_skew_seconds
