"""DAGs that buy one generation each, for people to act upon: clear, mark as failed, mark as successful."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator

VARIANTS = {
    "deferred_purchase": {"deferrable": True},
    "blocking_purchase": {"deferrable": False},
    "reused_purchase": {"deferrable": True, "on_clear": "reuse"},
    "regenerated_purchase": {"deferrable": True, "on_clear": "regenerate"},
}

for dag_id, options in VARIANTS.items():
    with DAG(
        dag_id,
        schedule=None,
        max_active_runs=100,
        max_active_tasks=100,
        params={"model_id": "", "prompt": "A lighthouse in the fog [stuck]"},
    ):
        ScenarioGenerateOperator(
            task_id="buy",
            model_id="{{ params.model_id }}",
            inputs={"prompt": "{{ params.prompt }}", "resolution": "480p"},
            poll_interval=1,
            # Of all that goes on beside them, the scenes have the most steps to wait for.
            priority_weight=10,
            **options,
        )
