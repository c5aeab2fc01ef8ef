"""What the pages inside Airflow show: a video that is made, waited for by a sensor and saved, beside a foreign task."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, Asset, task

from airflow_provider_scenario.operators.wan import ScenarioWan21TextToVideoOperator
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

with DAG(
    "ui_pages",
    schedule=None,
    tags=["scenario"],
    max_active_runs=20,
    default_args={"retries": 0, "retry_delay": timedelta(seconds=1)},
    params={"prompt": "A fox in the snow", "max_cost": "6", "folder": ""},
):
    generate = ScenarioWan21TextToVideoOperator(
        task_id="generate",
        prompt="{{ params.prompt }}",
        frame_num=33,
        max_cost="{{ params.max_cost }}",
        poll_interval=2,
        deferrable=True,
    )
    ScenarioJobSensor(task_id="wait", job_id=generate.output["job_id"], deferrable=True, poke_interval=2)
    ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=generate.output["asset_ids"],
        destination="{{ params.folder }}/{{ run_id }}",
        root=os.environ.get("SCENARIO_VIDEOS", "file:///"),
        outlets=[Asset("ui_pages_videos", group="scenario")],
    )

    @task(outlets=[Asset("ui_pages_foreign")])
    def foreign() -> str:
        return "nothing of Scenario's"

    foreign() >> generate
