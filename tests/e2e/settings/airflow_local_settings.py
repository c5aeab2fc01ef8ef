"""Airflow's own hook for settings, imported by each of its components at their start.

The scheduler's workers and the DAG processor fork a process for every task and every file. What was imported before,
none of them imports again: that is a fifth of what a task costs in these tests.
"""

from __future__ import annotations

import importlib
import sys

if {"scheduler", "dag-processor"} & set(sys.argv):
    for module in (
        "airflow.dag_processing.dagbag",
        "airflow.sdk.execution_time.task_runner",
        "airflow_provider_scenario.api.client",
        "airflow_provider_scenario.operators.generation",
        "airflow_provider_scenario.sensors.job",
        "airflow_provider_scenario.transfers.saving",
        "airflow_provider_scenario.triggers.capacity",
        "airflow_provider_scenario.triggers.job",
    ):
        importlib.import_module(module)
