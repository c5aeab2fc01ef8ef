"""Bring a still to life: upload it, generate with Wan 2.2 I2V, save the clip."""

from __future__ import annotations

import datetime
import os

from airflow.sdk import DAG, Param

from airflow_provider_scenario.operators.wan import ScenarioWan22ImageToVideoOperator
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

with DAG(
    "image_to_video",
    description="Bring a still to life",
    schedule=None,
    tags=["scenario"],
    params={
        "image": Param(
            "file:///var/lib/videos/still.png", type="string", title="Still", description="The still, at any storage"
        ),
        "prompt": Param(
            "The camera slowly comes closer",
            type="string",
            title="Prompt",
            description="What shall happen in the video",
        ),
        "destination": Param(
            "output", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
):
    still = ObjectStorageToScenarioOperator(task_id="upload", source="{{ params.image }}")

    animate = ScenarioWan22ImageToVideoOperator(
        task_id="animate", prompt="{{ params.prompt }}", image=still.output, resolution="480p", deferrable=True
    )

    ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=animate.output["asset_ids"],
        destination="{{ params.destination }}/{{ run_id }}",
        root=ROOT,
    )
