"""Two videos from one line of text: Wan 2.1 for a quick draft, Wan 2.5 for the real thing."""

from __future__ import annotations

import datetime
import os

from airflow.sdk import DAG, Asset, Param

from airflow_provider_scenario.operators.wan import ScenarioWan21TextToVideoOperator, ScenarioWan25TextToVideoOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

with DAG(
    "text_to_video",
    description="Two videos from one line of text: a quick draft, then the real thing",
    schedule=None,
    tags=["scenario"],
    params={
        "prompt": Param(
            "A paper boat sails down a rainy street",
            type="string",
            title="Prompt",
            description="What the video shall show",
        ),
        "destination": Param(
            "output", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
):
    draft = ScenarioWan21TextToVideoOperator(
        task_id="draft", prompt="{{ params.prompt }}", frame_num=33, deferrable=True
    )
    final = ScenarioWan25TextToVideoOperator(
        task_id="final", prompt="{{ params.prompt }}", size="1280*720", deferrable=True
    )
    draft >> final  # the draft shows whether the prompt is worth the price

    ScenarioToObjectStorageOperator(
        task_id="save",
        asset_ids=final.output["asset_ids"],
        destination="{{ params.destination }}/{{ run_id }}",
        root=ROOT,
        outlets=[Asset("scenario_videos", group="scenario")],  # starts page_for_new_videos
    )
