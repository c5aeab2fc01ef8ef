"""Many sensors that wait at once: most start in the triggerer, and the mapped ones in a worker."""

from __future__ import annotations

from airflow.sdk import DAG
from sizes import FROM_TRIGGER, FROM_WORKER

from airflow_provider_scenario.sensors.job import ScenarioJobSensor

with DAG(
    "many_wait",
    schedule=None,
    max_active_tasks=300,
    params={"jobs": [""] * (FROM_TRIGGER + FROM_WORKER), "connection": "scenario_default"},
):
    for place in range(FROM_TRIGGER):
        ScenarioJobSensor(
            task_id=f"wait_{place:03d}",
            job_id=f"{{{{ params.jobs[{place}] }}}}",
            scenario_conn_id="{{ params.connection }}",
            start_from_trigger=True,
        )
    ScenarioJobSensor.partial(
        task_id="wait_mapped", scenario_conn_id="{{ params.connection }}", deferrable=True
    ).expand(job_id=[f"{{{{ params.jobs[{FROM_TRIGGER + place}] }}}}" for place in range(FROM_WORKER)])
