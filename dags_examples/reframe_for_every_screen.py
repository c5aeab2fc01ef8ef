"""One clip for every screen: a group of tasks, mapped over aspect ratios; no worker waits.

The clip is a file: whichever instance comes first uploads it, and the others use the same Scenario asset. Each video is
saved as soon as it is made, whatever becomes of the others.
"""

from __future__ import annotations

import datetime
import os

from airflow.sdk import DAG, Param, task_group

from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator

ROOT = os.environ.get("SCENARIO_VIDEOS", "file:///var/lib/videos")
"""Nothing is saved outside of it, whatever is entered."""

SCREENS = ["16:9", "1:1", "9:16"]

SCREEN = f"{{{{ {SCREENS}[ti.map_index] }}}}"
"""What Airflow calls a mapped instance."""

with DAG(
    "reframe_for_every_screen",
    description="One clip for every screen",
    schedule=None,
    tags=["scenario"],
    params={
        "video": Param(
            "file:///var/lib/videos/clip.mp4", type="string", title="Clip", description="The clip, at any storage"
        ),
        "destination": Param(
            "output", type="string", title="Destination", description="The folder to save to, below ROOT"
        ),
        "resolution": Param(
            "720p",
            type="string",
            enum=["720p", "580p", "480p"],
            title="Resolution",
            description="More pixels cost more",
        ),
    },
    default_args={"retries": 2, "retry_delay": datetime.timedelta(minutes=1)},
    doc_md=__doc__,
) as dag:

    @task_group(prefix_group_id=False)
    def for_a_screen(aspect_ratio: str) -> None:
        reframe = ScenarioWan22ReframeOperator(
            task_id="reframe",
            video="{{ params.video }}",
            aspect_ratio=aspect_ratio,
            resolution="{{ params.resolution }}",
            keep_length=True,
            deferrable=True,
            map_index_template=SCREEN,
        )
        ScenarioToObjectStorageOperator(
            task_id="save",
            asset_ids=reframe.output["asset_ids"],
            destination="{{ params.destination }}/{{ run_id }}",
            root=ROOT,
            map_index_template=SCREEN,
        )

    for_a_screen.expand(aspect_ratio=SCREENS)
