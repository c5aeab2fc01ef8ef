"""One clip for every screen: a deferrable operator, mapped over aspect ratios; no worker waits.

The clip is a file: whichever instance comes first uploads it, and the others use the same Scenario asset.
"""

from __future__ import annotations

import datetime

from airflow.sdk import DAG, Param

from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

with DAG(
    "reframe_for_every_screen",
    schedule=None,
    tags=["scenario"],
    params={
        "video": Param("file:///var/lib/videos/clip.mp4", type="string", description="The clip, at any storage"),
        "destination": Param("file:///var/lib/videos/output", type="string", description="The folder to save to"),
        "resolution": Param("720p", enum=["720p", "580p", "480p"]),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
):
    reframe = ScenarioWan22ReframeOperator.partial(
        task_id="reframe",
        video_url="{{ params.video }}",
        resolution="{{ params.resolution }}",
        match_input_frames_per_second=True,
        deferrable=True,
        map_index_template="{{ task.aspect_ratio }}",
    ).expand(aspect_ratio=["16:9", "1:1", "9:16"])

    ScenarioToObjectStorageOperator.partial(task_id="save", destination="{{ params.destination }}").expand(
        asset_ids=reframe.output.map(lambda made: made["asset_ids"])
    )
