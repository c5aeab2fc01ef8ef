"""A purchase with a limit, and a report of what the run has spent: once in a worker, once in the triggerer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.run_cost import get_run_cost

for dag_id, deferrable in {"priced_blocking": False, "priced_deferrable": True}.items():
    with DAG(
        dag_id,
        schedule=None,
        max_active_runs=100,
        default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
        params={"model_id": "model_wan-2-1-1-3b", "prompt": "A boat", "max_cost": "100"},
    ):
        buy = ScenarioGenerateOperator(
            task_id="buy",
            model_id="{{ params.model_id }}",
            inputs={"prompt": "{{ params.prompt }}", "frameNum": 17},
            max_cost="{{ params.max_cost }}",
            poll_interval=0.5,
            deferrable=deferrable,
        )

        @task(trigger_rule="all_done")
        def report() -> dict[str, Any]:
            return get_run_cost().to_json()

        buy >> report()
