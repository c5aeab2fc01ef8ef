"""Widen a clip, bring it into another shape, save it: operator, sensor, operator, sensor, transfer.

Trigger it with a clip and a folder of your own: ``{"video": "s3://aws_default@bucket/clip.mp4", ...}``.
"""

from __future__ import annotations

import datetime
import os

from airflow.sdk import DAG, Param

from airflow_provider_scenario.operators.wan import ScenarioWan22OutpaintingOperator, ScenarioWan22ReframeOperator
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

with DAG(
    "outpaint_then_reframe",
    description="Widen a clip, then bring it into another shape",
    schedule=None,
    tags=["scenario"],
    params={
        "video": Param(
            "file:///var/lib/videos/clip.mp4", type="string", title="Clip", description="The clip, at any storage"
        ),
        "destination": Param(
            "output", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
        "prompt": Param(
            "The same scene, seen from further away",
            type="string",
            title="Prompt",
            description="What the widened frame shall show",
        ),
        "aspect_ratio": Param(
            "9:16",
            type="string",
            enum=["16:9", "1:1", "9:16"],
            title="Aspect ratio",
            description="The shape of the new frame",
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
):
    clip = ObjectStorageToScenarioOperator(task_id="upload", source="{{ params.video }}")

    outpaint = ScenarioWan22OutpaintingOperator(
        task_id="outpaint",
        video=clip.output,
        prompt="{{ params.prompt }}",
        expand_top=False,
        expand_bottom=False,
        keep_length=True,
        wait_for_completion=False,
    )
    outpainted = ScenarioJobSensor(
        task_id="wait_for_outpaint", job_id=outpaint.output["job_id"], deferrable=True, poke_interval=5
    )

    reframe = ScenarioWan22ReframeOperator(
        task_id="reframe",
        video=outpainted.output["asset_id"],
        aspect_ratio="{{ params.aspect_ratio }}",
        keep_length=True,
        wait_for_completion=False,
    )
    reframed = ScenarioJobSensor(
        task_id="wait_for_reframe", job_id=reframe.output["job_id"], deferrable=True, poke_interval=5
    )

    ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=reframed.output["asset_ids"],
        destination="{{ params.destination }}/{{ run_id }}",
        root=ROOT,
    )
