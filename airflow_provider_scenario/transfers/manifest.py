"""The manifest: what was saved and where it comes from, as JSON. Pure."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, redact
from airflow_provider_scenario.outcome import amount
from airflow_provider_scenario.transfers.naming import common_folder, template_fields_of
from airflow_provider_scenario.transfers.saved_file import SavedFile

VERSION = 1
"""Grows if a key goes or comes to mean something else; new keys may come without."""


@dataclass(frozen=True)
class Manifest:
    """What one task saved.

    :param folder: Where.
    :param files: The files, in order; one at least.
    :param jobs: The jobs they come from, each once. What isn't known of a job is ``None``.
    :param uri: Where the manifest itself stands; ``None`` if it is kept in the XCom only.
    """

    folder: str
    files: Sequence[SavedFile]
    jobs: Sequence[Job] = ()
    uri: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON: ``version``, ``uri``, ``files`` and ``jobs``, tied together by ``job_id``."""
        return {
            "version": VERSION,
            "uri": self.uri,
            "files": [file.facts() for file in self.files],
            "jobs": [facts_of(job) for job in self.jobs],
        }

    def content(self) -> bytes:
        """Return it as the bytes of a file."""
        return (json.dumps(self.document(), indent=2, ensure_ascii=False) + "\n").encode()

    def event_extra(self) -> dict[str, Any]:
        """Return it flat, as the extra of an Airflow asset's event.

        :return: For one file its facts. For several ``uri`` is the folder, ``uris`` and ``asset_ids`` name them in
            order, ``bytes`` is their sum. In both cases ``files`` counts them, ``manifest`` is where the manifest
            stands, and if all come from one job its facts are there too. What isn't known is left out.
        """
        extra = self.files[0].facts() if len(self.files) == 1 else self._several()
        extra = {**extra, "files": len(self.files), "manifest": self.uri}
        if len(self.jobs) == 1 and all(file.job_id == self.jobs[0].id for file in self.files):
            extra |= facts_of(self.jobs[0])
        return {key: value for key, value in extra.items() if value is not None}

    def of_each_file(self) -> list[Manifest]:
        """Return a manifest for each file alone."""
        return [
            Manifest(self.folder, [file], [job for job in self.jobs if job.id == file.job_id], self.uri)
            for file in self.files
        ]

    def _several(self) -> dict[str, Any]:
        return {
            "uri": self.folder,
            "uris": [file.uri for file in self.files],
            "asset_ids": [file.asset_id for file in self.files],
            "bytes": sum(file.bytes for file in self.files),
        }


def manifest_name(wanted: str | bool, template: str, map_index: int | None) -> str | None:
    """Return how the manifest is called, ``None`` if none is wanted.

    :param wanted: A name; ``True`` for ``manifest.json``; ``False`` for none.
    :param template: The template of the files' names.
    :param map_index: Which instance of a mapped task saves. Unless each job has a folder of its own, instances share
        one and none must replace the manifest of another: then ``True`` stands for ``manifest-<map index>.json``.
    :raises ScenarioConfigurationError: if the name is no plain one.
    """
    if isinstance(wanted, bool):
        shared = "job_id" not in template_fields_of(common_folder(template))
        which = f"-{map_index}" if shared and map_index is not None and map_index >= 0 else ""
        return f"manifest{which}.json" if wanted else None
    if wanted in ("", ".", "..") or any(sign in wanted for sign in "/\\\x00"):
        raise ScenarioConfigurationError(
            f"manifest is {wanted!r}: give a plain name such as 'tall.json', True for manifest.json, or False for none."
        )
    return wanted


def facts_of(job: Job) -> dict[str, Any]:
    """Return what a manifest says of a job, as JSON: no URL is in it."""
    return {
        "job_id": job.id,
        "model_id": job.model_id,
        "inputs": {name: _without_urls(value) for name, value in job.inputs.items() if name != "modelId"} or None,
        "seed": job.seed,
        "cost": None if job.cost is None else amount(job.cost),
        "created_at": _text(job.created_at),
        "updated_at": _text(job.updated_at),
    }


def _text(time: datetime.datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_urls(value: Any) -> Any:
    """Return an input without what a signed or inline URL in it would give away."""
    if isinstance(value, str):
        if value.startswith("data:"):
            return "data:…"
        return redact(value) if "://" in value else value
    if isinstance(value, list):
        return [_without_urls(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_urls(item) for name, item in value.items()}
    return value
