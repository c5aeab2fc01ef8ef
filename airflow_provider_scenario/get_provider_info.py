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
            "airflow_provider_scenario.links.ScenarioJobLink",
            "airflow_provider_scenario.links.ScenarioAssetLink",
        ],
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
                "label": "Time-out",
                "description": "Seconds to wait for each reply of the API.",
                "schema": {"type": ["number", "null"], "default": 60, "exclusiveMinimum": 0},
            },
        },
    }
