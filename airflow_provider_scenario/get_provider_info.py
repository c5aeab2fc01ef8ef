"""What Airflow reads of this provider: its connection form, links and modules."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, as Airflow's ``provider_info.schema.json`` wants it."""
    return {
        "package-name": "airflow-provider-scenario",
        "name": "Scenario",
        "description": "Generate video with `Scenario <https://www.scenario.com>`__: pay once, wait without a worker, "
        "keep every file.",
        "integrations": [
            {
                "integration-name": "Scenario",
                "external-doc-url": "https://docs.scenario.com",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Scenario", "python-modules": ["airflow_provider_scenario.hooks.scenario"]}],
        "operators": [
            {
                "integration-name": "Scenario",
                "python-modules": [
                    "airflow_provider_scenario.operators.estimate",
                    "airflow_provider_scenario.operators.generate",
                    "airflow_provider_scenario.operators.model",
                    "airflow_provider_scenario.operators.wan",
                ],
            }
        ],
        "sensors": [{"integration-name": "Scenario", "python-modules": ["airflow_provider_scenario.sensors.job"]}],
        "triggers": [
            {
                "integration-name": "Scenario",
                "python-modules": [
                    "airflow_provider_scenario.triggers.capacity",
                    "airflow_provider_scenario.triggers.job",
                    "airflow_provider_scenario.triggers.search",
                ],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "Scenario",
                "target-integration-name": "Common IO",
                "python-module": "airflow_provider_scenario.transfers.scenario_to_object_storage",
            },
            {
                "source-integration-name": "Common IO",
                "target-integration-name": "Scenario",
                "python-module": "airflow_provider_scenario.transfers.object_storage_to_scenario",
            },
        ],
        "connection-types": [_connection_type()],
        "extra-links": [
            "airflow_provider_scenario.links.ScenarioPageLink",
            "airflow_provider_scenario.links.ScenarioJobLink",
            "airflow_provider_scenario.links.ScenarioAssetLink",
        ],
        "config": {"scenario": _settings()},
    }


def _settings() -> dict[str, Any]:
    return {
        "description": "Scenario's pages inside Airflow's user interface.",
        "options": {
            "pages": {
                "description": "Whether Airflow shows the pages. Read by the API server, and by workers for the link "
                "to a task's page.",
                "version_added": "0.1.0",
                "type": "boolean",
                "example": None,
                "default": "True",
            },
            "media": {
                "description": "How a video comes to the browser. ``redirect``: the browser fetches it from Scenario's "
                "CDN by an address that works for some days, so nothing passes through the API server. ``proxy``: the "
                "API server hands it on piece by piece, so the browser needs no way to the CDN and never sees the "
                "address.",
                "version_added": "0.1.0",
                "type": "string",
                "example": "proxy",
                "default": "redirect",
            },
        },
    }


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "scenario",
        "hook-class-name": "airflow_provider_scenario.hooks.scenario.ScenarioHook",
        "hook-name": "Scenario",
        "ui-field-behaviour": {
            "hidden-fields": ["port", "schema", "extra"],
            "relabeling": {"login": "API key", "password": "API secret", "host": "Base URL"},
            "placeholders": {"login": "api_…", "host": "https://api.cloud.scenario.com/v1"},
        },
        "conn-fields": {
            "project_id": {
                "label": "Project id",
                "description": "Asserted on every call. Empty: the project the API key belongs to.",
                "schema": {"type": ["string", "null"]},
            },
            "request_timeout": {
                "label": "Reply time-out",
                "description": "Seconds to wait for each reply of the API.",
                "schema": {"type": ["number", "null"], "default": 60, "exclusiveMinimum": 0},
            },
        },
    }
