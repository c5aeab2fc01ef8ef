"""The tasks of the example `outpaint_then_reframe`, which reach Scenario by the connection that a run names."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_scenario.operators.wan import ScenarioWan22OutpaintingOperator, ScenarioWan22ReframeOperator
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

with DAG(
    "behind_a_proxy",
    schedule=None,
    params={"connection": "", "video": "", "destination": ""},
    default_args={
        "scenario_conn_id": "{{ params.connection }}",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
    },
):
    clip = ObjectStorageToScenarioOperator(task_id="upload", source="{{ params.video }}")
    outpaint = ScenarioWan22OutpaintingOperator(
        task_id="outpaint",
        video=clip.output,
        prompt="The same scene, seen from further away",
        keep_length=True,
        wait_for_completion=False,
    )
    outpainted = ScenarioJobSensor(
        task_id="wait_for_outpaint", job_id=outpaint.output["job_id"], deferrable=True, poke_interval=5
    )
    reframe = ScenarioWan22ReframeOperator(
        task_id="reframe",
        video=outpainted.output["asset_id"],
        aspect_ratio="9:16",
        keep_length=True,
        wait_for_completion=False,
    )
    reframed = ScenarioJobSensor(
        task_id="wait_for_reframe", job_id=reframe.output["job_id"], deferrable=True, poke_interval=5
    )
    ScenarioToObjectStorageOperator(
        task_id="save", asset_ids=reframed.output["asset_ids"], destination="{{ params.destination }}"
    )
