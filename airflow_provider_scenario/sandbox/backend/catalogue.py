"""The models on offer: the records packaged with the provider, read as plain JSON, and those added while it runs."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from airflow_provider_scenario.sandbox.backend.refusal import not_found

PUBLISHED = "2026-07-01T09:00:00.000Z"
FILE_TYPES = ("file", "file_array")
# What a live record has beside what the packaged ones keep.
USUAL_FIELDS: dict[str, Any] = {
    "collectionIds": [],
    "createdAt": PUBLISHED,
    "updatedAt": PUBLISHED,
    "exampleAssetIds": [],
    "source": "other",
    "tags": ["sc:third-party"],
    "trainingImagesNumber": 0,
    "accessRestrictions": 25,
}


class Catalogue:
    """All model records by id."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Any]] = {}
        folder = resources.files("airflow_provider_scenario").joinpath("api", "records")
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".json"):
                self.add(json.loads(file.read_text(encoding="utf-8"))["model"])

    def add(self, record: dict[str, Any]) -> None:
        """Offer one more model, or replace one, by a record in the shape of ``GET /models/{id}``."""
        inputs = [_with_kind(dict(entry)) for entry in record.get("inputs", [])]
        self._records[record["id"]] = {
            **USUAL_FIELDS,
            "name": record["id"],
            "type": "custom",
            "custom": True,
            "privacy": "public",
            "status": "trained",
            "capabilities": ["txt2video"],
            **record,
            "inputs": inputs,
        }

    def get(self, model_id: str) -> dict[str, Any]:
        """Give the full record of one model; refuses with 404."""
        if model_id not in self._records:
            raise not_found("Model", model_id)
        return self._records[model_id]

    def rows(self, privacy: str) -> list[dict[str, Any]]:
        """Give the records of one privacy, without their inputs, as lists carry them."""
        return [self.row(record) for record in self._records.values() if record["privacy"] == privacy]

    def found(self, model_ids: list[str]) -> list[dict[str, Any]]:
        """Give the rows of those of the given models that exist."""
        return [self.row(self._records[each]) for each in model_ids if each in self._records]

    @staticmethod
    def row(record: dict[str, Any]) -> dict[str, Any]:
        """Give a record as lists carry it: without its inputs."""
        return {name: value for name, value in record.items() if name != "inputs"}


def _with_kind(entry: dict[str, Any]) -> dict[str, Any]:
    """File inputs always tell a kind; records made from the printed tables may lack it, so the name has to tell."""
    if entry["type"] in FILE_TYPES and "kind" not in entry:
        name = entry["name"].lower()
        entry["kind"] = next((kind for kind in ("video", "audio") if kind in name), "image")
    return entry
